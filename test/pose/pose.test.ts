// A task that stands in a chain of functions: its frames, what it blocks, how it leaves, and what no task can stand in.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Pose } from '../../src/pose/pose.ts';
import { Session } from '../properties/session.ts';

let session: Session;

beforeEach(async () => {
  session = await Session.boot();
  expect(session.insmod('target', 'period_ms=100000 work_ms=1 hold_ms=1 show_ms=1')).toBe(0);
  session.machine.runFor(1e9);
});
afterEach(() => session.machine.close());

const CHAIN = [
  'klpdemo_target:klpdemo_work_fn',
  'klpdemo_target:klpdemo_work_step',
  'msleep',
  'schedule_timeout_uninterruptible',
  'schedule_timeout',
  'schedule',
];

const pose = (chain: readonly string[]): Pose => new Pose(session.machine, chain);

describe('a posed task', () => {
  it('has the frames of its chain on its stack, but for those whose last call is a jump', () => {
    const { task, isStanding } = pose(CHAIN).stand({ ms: 5000 });
    expect(isStanding).toBe(true);
    const lines = session.machine.stack(task).map((line) => line.replace(/\+.*/, ''));
    expect(lines).toEqual([
      '[<0>] msleep',
      '[<0>] klpdemo_work_step',
      '[<0>] klpdemo_work_fn',
      '[<0>] do_syscall_64',
      '[<0>] entry_SYSCALL_64_after_hwframe',
    ]);
    const trace = session.machine.inspect.traces.stackTrace.explainTskReliable(task, String);
    const truth = session.machine.inspect.traces.shadow?.frames(task.stackSlot, task.spLo);
    expect(trace.ok).toBe(true);
    expect(trace.entries.map((addr) => Number(addr & 0xffffffffn))).toEqual(
      truth?.map(({ address }) => address),
    );
  });

  it('blocks a transition of a function that it stands in, and leaves when its time is over', () => {
    const { machine } = session;
    const posed = pose(CHAIN).stand({ ms: 3000, state: 'uninterruptible', comm: 'stander' });
    expect(session.insmod('patch_target')).toBe(0);
    expect(session.settled(2e9)).toBe(false);
    const blocked = machine.why()?.blocked.map(({ comm, reason, function: func }) => [comm, reason, func]);
    expect(blocked).toEqual([['stander', 'sleeping on function', 'klpdemo_work_fn']]);
    expect(session.ended(posed.task)).toBe(0);
    expect([posed.isStanding, session.settled()]).toEqual([false, true]);
  });

  it('that is interruptible leaves by the fake signal', () => {
    const posed = pose(CHAIN).stand({ ms: 60_000 });
    const before = session.machine.now();
    expect(session.insmod('patch_target')).toBe(0);
    expect(session.settled()).toBe(true);
    expect(session.machine.now() - before).toBeGreaterThan(14e9);
    expect(session.machine.now() - before).toBeLessThan(20e9);
    expect(posed.isStanding).toBe(false);
  });

  it('can be killed, and its stack and heap are given back', () => {
    const { task } = pose(CHAIN).stand({ ms: 60_000 });
    session.wait(session.machine.spawn('kill', [String(task.pid), '9']));
    expect(session.ended(task)).toBe(128 + 9);
  });
});

describe('no task can stand', () => {
  it.each([
    [['klpdemo_no_such', 'schedule'], 'klpdemo_no_such: no such function'],
    [
      ['klpdemo_target:klpdemo_twin', 'schedule'],
      'klpdemo_target:klpdemo_twin: 2 functions have that name: klpdemo_target:klpdemo_twin,1 is the first',
    ],
    [['msleep'], 'a chain has two functions or more, and ends in schedule'],
    [['msleep', 'schedule_timeout'], 'a chain has two functions or more, and ends in schedule'],
    [
      ['cmdline_proc_show', 'schedule'],
      'cmdline_proc_show: no way of direct branches leads to a call of schedule',
    ],
    [
      ['klpdemo_target:klpdemo_check', 'schedule'],
      'klpdemo_target:klpdemo_check: no way of direct branches leads to a call of schedule',
    ],
  ])('in %s, and it is said why', (chain, reason) => {
    expect(() => pose(chain)).toThrow(reason);
  });
});
