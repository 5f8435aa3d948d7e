// A kernel that oopses without end: kernel.oops_limit is its end, as make_task_dead() has it.

import { expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { attack } from './attacks.ts';

const LIMIT = '/proc/sys/kernel/oops_limit';

/** Writes the limit as a user does. @returns the exit code */
function write(machine: Machine, text: string): number | undefined {
  const task = machine.spawn('echo', [text, LIMIT]);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9);
  return machine.exitStatus(task);
}
const limited = (text: string) => (machine: Machine) => {
  expect(write(machine, text)).toBe(0);
};

it('ends as a panic when more tasks have died of oopses than kernel.oops_limit', async () => {
  const end = await attack('how=overrun', {}, limited('20'));
  expect(end.how).toBe('GuestPanic');
  expect(end.why).toMatch(
    /^Kernel panic - not syncing: Oopsed too often \(kernel\.oops_limit is 20\) \(CPU \d/,
  );
  expect(end.log.filter((line) => /\[#\d+\] PREEMPT SMP/.test(line)).length).toBe(20);
  expect(end.log.at(-1)).toBe(
    '---[ end Kernel panic - not syncing: Oopsed too often (kernel.oops_limit is 20) ]---',
  );
});

it('is an unsigned int, and none when it is 0', async () => {
  const end = await attack('how=null', {}, (machine) => {
    expect(write(machine, '4294967296')).toBe(UAPI.EINVAL);
    expect(write(machine, '-1')).toBe(UAPI.EINVAL);
    expect(write(machine, '0')).toBe(0);
  });
  expect(end.how).toBe('exit 137');
  expect((await attack('how=null', {}, limited('1'))).how).toBe('GuestPanic');
});
