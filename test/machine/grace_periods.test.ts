// How long a trampoline stays behind its last use: kernel/rcu/tasks.h.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';

const PATCH = new Uint8Array(readFileSync('fixtures/modules/klpdemo_patch_vmlinux.ko'));
const MS = 1e6;

/** @returns virtual ms from the end of a patch's sites to that of its trampoline */
async function trampolineStays(programs: readonly string[]): Promise<number> {
  const machine = await Machine.boot({ cpus: 2, schedule: 'q' });
  const { livepatch, ftrace } = machine.inspect;
  const isOver = () => livepatch.transitionPatch === undefined;
  machine.addFile('/patch.ko', PATCH);
  machine.insmod('/patch.ko');
  machine.runUntil(() => ftrace.trampolines.list().length > 0 && isOver(), 10_000 * MS);
  for (const program of programs) machine.spawn(program);
  machine.runFor(10 * MS);
  let unpatched = Number.POSITIVE_INFINITY;
  machine.events.subscribe(() => {
    unpatched = machine.now();
  }, ['poke']);
  machine.spawn('echo', ['0', '/sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled']);
  machine.runUntil(() => ftrace.trampolines.list().length === 0, 10_000 * MS);
  const stays = (machine.now() - unpatched) / MS;
  machine.close();
  return stays;
}

describe('synchronize_rcu_tasks()', () => {
  it('does not wait where every task sleeps', async () => {
    expect(await trampolineStays([])).toBeLessThan(20);
  });

  it('looks for the first time after HZ / 10 where a task could run', async () => {
    const ms = await trampolineStays(['spin']);
    expect(ms).toBeGreaterThanOrEqual(100);
    expect(ms).toBeLessThan(120);
  });
});
