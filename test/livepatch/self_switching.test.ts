// Tasks that ask by themselves whether they may switch: in cond_resched() of 6.4 to 6.15, in __schedule() from 6.16 on. The
// built-in kernel under later names, whose own text has what theirs has.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';
import { BusyThread } from './busy_thread.ts';

const SMALL = { heap: 4 << 20, moduleArea: 2 << 20, maxTasks: 32, instructionNs: 20_000 };
const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join(import.meta.dirname, `../../fixtures/modules/${name}.ko`)));

let busy: BusyThread;
afterEach(() => busy.machine.close());

const on = async (release: string): Promise<BusyThread> => {
  busy = new BusyThread(await Machine.boot(SMALL, { ...BUILT_IN, release }), fixture);
  return busy;
};

describe('a thread that is never outside of a patched function for long, and calls cond_resched() there', () => {
  it.each(['6.1.0-56-amd64', '7.3.4'])('keeps a transition from its end on %s', async (release) => {
    const { machine } = await on(release);
    busy.load('busy');
    expect(busy.patched(4e9)).toBe(false);
    expect(machine.why()?.blocked.map(({ comm }) => comm)).toEqual(['klpdemo_busy']);
  });

  it('switches itself on 6.12, and back', async () => {
    await on('6.12.117');
    busy.load('busy');
    expect(busy.patched(4e9)).toBe(true);
    expect(busy.ways).toEqual(['cond_resched']);
    busy.disable();
    busy.machine.runFor(2e9);
    expect(busy.ways).toEqual(['cond_resched', 'cond_resched']);
  });

  it('calls what cond_resched() was before, once the transition is over', async () => {
    const { machine } = await on('6.12.117');
    busy.load('busy');
    const { symbols, mem } = machine.inspect.core;
    const called = () => symbols.lookup(mem.readU64(symbols.require('__SCK__cond_resched')))?.name;
    const before = busy.condResched();
    expect([called(), before]).toEqual(['__static_call_return0', '__static_call_return0']);
    const during: unknown[] = [];
    machine.inspect.core.events.subscribe(
      (event) => busy.isOf(event) && during.push(called(), busy.condResched()),
      ['patch_state'],
    );
    expect(busy.patched(4e9)).toBe(true);
    expect(new Set(during)).toEqual(new Set(['klp_cond_resched']));
    expect([called(), busy.condResched()]).toEqual(['__static_call_return0', before]);
  });
});

describe('a thread that sleeps in a patched function, and outside of it as what may be frozen', () => {
  it.each(['6.1.0-56-amd64', '6.12.117'])('keeps a transition from its end on %s', async (release) => {
    const { machine } = await on(release);
    busy.load('freezable');
    expect(busy.patched(4e9)).toBe(false);
    expect(machine.why()?.blocked.map(({ comm }) => comm)).toEqual(['klpdemo_busy']);
  });

  it('switches as it goes to sleep on 7.3, and the branch is compiled out again', async () => {
    const { machine } = await on('7.3.4');
    busy.load('freezable');
    const { symbols, mem } = machine.inspect.core;
    const key = () => mem.readS32(symbols.require('klp_sched_try_switch_key'));
    const keys: number[] = [];
    machine.inspect.core.events.subscribe((event) => busy.isOf(event) && keys.push(key()), ['patch_state']);
    const text = symbols.matches('__schedule', undefined)[0];
    const before = mem.readBytes(text.addr, text.size);
    expect(busy.patched(4e9)).toBe(true);
    expect(busy.ways).toEqual(['freezable sleep']);
    expect([new Set(keys), key()]).toEqual([new Set([1]), 0]);
    expect(mem.readBytes(text.addr, text.size)).toEqual(before);
  });
});
