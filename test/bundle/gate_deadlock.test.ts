// A load whose init waits for a thread that itself waits on the gate: in each of the ways in which the kernel waits.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { bundleOf, ko, SECOND, World } from './world.ts';

let w: World;
beforeEach(async () => {
  w = await World.boot();
  w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
});
afterEach(() => w.machine.close());

/** Loads klpbundle_waits, and begins a transition while its init waits. What the log says of a deadlock. */
function meet(parameters: string): { readonly load: number | undefined; readonly log: string } {
  const load = w.startInsmod('waits', parameters);
  w.machine.runFor(SECOND / 20);
  const enable = w.startEnable(bundleOf('v1', ['p1_vmlinux']));
  const ended = w.wait(load, 20 * SECOND);
  expect(w.wait(enable)).toBe(0);
  expect(w.settled()).toBe(true);
  const lines = w.machine.dmesg().map((line) => line.replace(/^\[.*?\] /, ''));
  const at = lines.findIndex((line) => line.includes('livepatch: deadlock:'));
  return { load: ended, log: at < 0 ? '' : lines.slice(at).join('\n') };
}
const asked = (errno: number): boolean => w.has(`klpbundle_waits: request_module returned -${errno}`);

describe('a thread that a load waits for, and that asks for a module, is told of the deadlock', () => {
  it.each([
    ['stop', 'kthread_stop', 'klpbundle_waits'],
    ['completion', 'klpbundle_waits_init', 'klpbundle_waits'],
    ['event', 'klpbundle_waits_init', 'klpbundle_waits'],
    ['mutex', 'klpbundle_waits_init', 'klpbundle_waits'],
    ['cancel', 'cancel_work_sync', 'kworker'],
  ])('how=%s', (how, function_, comm) => {
    const { load, log } = meet(`how=${how}`);
    expect(load).toBe(0);
    expect(asked(UAPI.EDEADLK)).toBe(true);
    const [first] = log.split('\n');
    expect(first).toMatch(
      new RegExp(
        `^livepatch: deadlock: ${comm}\\S* waits for a transition, which waits for the load of insmod:\\d+, which waits for it$`,
      ),
    );
    expect(log).toMatch(
      new RegExp(`stack of ${comm}[\\s\\S]*klp_gate_lock[\\s\\S]*stack of insmod:[\\s\\S]*${function_}`),
    );
  });

  it('by way of another thread, whose stack is told too', () => {
    const { load, log } = meet('how=chain');
    expect(load).toBe(0);
    expect(asked(UAPI.EDEADLK)).toBe(true);
    expect(log).toMatch(
      /of insmod:\d+, which waits for klpbundle_middl:\d+, which waits for it\n[\s\S]*stack of insmod[\s\S]*stack of klpbundle_middl:/,
    );
  });

  it('not where the wait ends by itself', () => {
    const { load, log } = meet('how=timeout');
    expect([load, log, asked(UAPI.EDEADLK)]).toEqual([0, '', false]);
  });

  it('not where another thread of the module could wake the load', () => {
    const { load, log } = meet('how=event others=1');
    expect([log, asked(UAPI.EDEADLK)]).toEqual(['', false]);
    expect(load).toBe(0);
  });

  it('not where another thread of the module could complete what the load waits for', () => {
    const { load, log } = meet('how=completion others=1');
    expect(log).toBe('');
    expect(asked(UAPI.EDEADLK)).toBe(false);
    expect(load).toBe(0);
  });
});
