// Tasks that ask by themselves whether they may switch, on Debian's kernels: by the code of their own cond_resched(), and where
// __schedule() is the machine's, by the real __klp_sched_try_switch() that it calls.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { moduleFor } from '../machine/for_kernel.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { BusyThread } from './busy_thread.ts';

const images = { '6.1': vmlinuzOf('6.1'), '6.12': vmlinuzOf('6.12'), '7.3': vmlinuzOf('7.3') };

describe.each([
  { series: '6.1', busy: [], freezable: [] },
  { series: '6.12', busy: ['cond_resched'], freezable: [] },
  { series: '7.3', busy: [], freezable: ['freezable sleep'] },
] as const)('on Debian $series', ({ series, ...expected }) => {
  const file = images[series];
  let machine: Machine | undefined;
  beforeEach((context) => {
    if (!file) context.skip(`the image of Debian's ${series} is not here and could not be fetched`);
  });
  afterEach(() => machine?.close());

  it.each([
    { what: 'busy', does: 'is in cond_resched() between two rounds' },
    { what: 'freezable', does: 'sleeps freezable between two rounds' },
  ] as const)('a thread that $does is switched as that kernel switches it', async ({ what }) => {
    const kernel = openKernel(file as string, X86_64);
    // As slow as it may be where a tick comes each ms: at 20 µs the tick's own instructions would be all that there is.
    machine = await Machine.boot({ kernel: file as string, instructionNs: 10_000 });
    const fixture = (name: string): Uint8Array =>
      moduleFor(
        new Uint8Array(readFileSync(join(import.meta.dirname, `../../fixtures/modules/${name}.ko`))),
        kernel,
      );
    const thread = new BusyThread(machine, fixture);
    const { mem } = machine.inspect.core;
    const { addr, size } = kernel.native.text;
    thread.load(what);
    const before = mem.readBytes(addr, size);
    const ways = expected[what];
    expect([thread.patched(4e9), thread.ways]).toEqual([ways.length > 0, ways]);
    if (ways.length > 0) expect(Buffer.compare(mem.readBytes(addr, size), before)).toBe(0);
  });
});
