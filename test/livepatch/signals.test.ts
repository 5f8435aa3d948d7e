// The fake signal of a stalled transition, and what becomes of each kind of sleeper: an interruptible user task
// leaves its system call and restarts it, a kernel thread is woken and may leave the function that it sleeps in,
// whoever sleeps uninterruptibly is let sleep. (/proc/PID/patch_state and /proc/PID/stack tell of them.)

import { afterEach, describe, expect, it } from 'vitest';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { MachineOptions } from '../../src/machine/machine.ts';
import { checkInvariants } from '../properties/audit.ts';
import { Session, TARGET_PARAMETERS } from '../properties/session.ts';

const SECOND = 1e9;
let session: Session;
let switches: Extract<KernelEvent, { type: 'patch_state' }>[];

async function boot(options: MachineOptions = {}): Promise<void> {
  session = await Session.boot(options);
  switches = [];
  session.machine.events.subscribe(
    (event) => void (event.type === 'patch_state' && switches.push(event)),
    ['patch_state'],
  );
}
afterEach(() => {
  expect(session.oopses).toEqual([]);
  expect(checkInvariants(session.machine)).toEqual([]);
  session.machine.close();
});

const run = (seconds: number): void => session.machine.runFor(seconds * SECOND);
const proc = (task: TaskStruct, file: string): string => session.cat(`/proc/${task.pid}/${file}`);
const signalled = (): boolean =>
  session.machine.dmesg().some((line) => line.endsWith('livepatch: signaling remaining tasks'));
/** How a task switched, and how many seconds after the start of the transition. */
const switchOf = (task: TaskStruct): [string, number] | undefined => {
  const event = switches.find(({ pid }) => pid === session.machine.inspect.users.pidOf(task));
  return event && [event.way, event.sinceNs / SECOND];
};
const kthread = (comm: string): TaskStruct => {
  const found = [...session.machine.inspect.core.tasks.processes()].find((task) => task.comm === comm);
  if (!found) throw new Error(`no ${comm}`);
  return found;
};

describe('the fake signal', () => {
  it('wakes a kernel thread, and leaves a task in an uninterruptible sleep where it is', async () => {
    await boot();
    const { machine } = session;
    // The thread sleeps for 100 s at the bottom of klpdemo_round, the reader for 22 s in klpdemo_proc_show.
    session.insmod('target', 'hold_ms=1 period_ms=100000 show_ms=22000 block=1');
    const worker = kthread('klpdemo_worker');
    const reader = machine.spawn('cat', ['/proc/klpdemo']);
    run(0.5);
    session.echo('0', `${TARGET_PARAMETERS}/block`);
    expect(session.insmod('patch_target')).toBe(0);
    run(13);
    expect(signalled()).toBe(false);
    for (const [task, name, state] of [
      [worker, 'klpdemo_round', 'S (sleeping)'],
      [reader, 'klpdemo_proc_show', 'D (disk sleep)'],
    ] as const) {
      expect(proc(task, 'patch_state')).toBe('0\n');
      expect(proc(task, 'stack')).toContain(`${name}+0x`);
      expect(proc(task, 'status')).toContain(`State:\t${state}\n`);
    }
    run(4);
    expect(signalled()).toBe(true);
    // Woken, it saw that it is no longer to be blocked, and has left the old function by itself.
    expect(proc(worker, 'stack')).not.toContain('klpdemo_round+');
    expect(switchOf(worker)?.[0]).toBe('stack check');
    expect(switchOf(worker)?.[1]).toBeGreaterThan(15);
    expect(proc(reader, 'patch_state')).toBe('0\n');
    expect(proc(reader, 'stack')).toContain('msleep+0x');
    expect(session.settled()).toBe(true);
    expect(switchOf(reader)?.[0]).toBe('kernel exit');
    expect(switchOf(reader)?.[1]).toBeGreaterThan(21);
    expect(session.ended(reader)).toBe(0);
    // It was in the old function to the end, and reads what that wrote.
    expect(machine.stdout(reader)).toMatch(/^klpdemo version 1\n[\s\S]*^mixed 0$/m);
  });

  it('takes an interruptible user task out of its system call, which goes on for the rest of its time', async () => {
    // No stack is looked at: nothing but an exit to user mode switches it.
    await boot({ unwinder: 'none' });
    const { machine } = session;
    const start = machine.now();
    const sleeper = machine.spawn('sleep', ['30000', '1']);
    const paused = machine.spawn('pause');
    run(0.1);
    expect(session.insmod('patch_vmlinux')).toBe(0);
    run(10);
    expect([switchOf(sleeper), switchOf(paused)]).toEqual([undefined, undefined]);
    run(7);
    expect(signalled()).toBe(true);
    for (const task of [sleeper, paused]) {
      expect(switchOf(task)?.[0]).toBe('kernel exit');
      expect(switchOf(task)?.[1]).toBeGreaterThan(14);
      expect(proc(task, 'patch_state')).toBe('1\n');
      expect(proc(task, 'status')).toContain('State:\tS (sleeping)\n');
    }
    // It is asleep in the system call that restarts it, with what was left to wait.
    expect(proc(sleeper, 'stack')).toMatch(/hrtimer_nanosleep_restart|restart_syscall|do_nanosleep/);
    session.echo('1', '/sys/kernel/livepatch/klpdemo_patch_vmlinux/force');
    expect(session.settled()).toBe(true);
    expect(session.ended(sleeper)).toBe(0);
    const slept = (machine.now() - start) / SECOND;
    expect(slept).toBeGreaterThan(30);
    expect(slept).toBeLessThan(30.5);
    expect(machine.exitStatus(paused)).toBeUndefined();
  });

  it('is sent again after fifteen more retries, and said only once', async () => {
    await boot();
    session.insmod('target', 'hold_ms=40000 period_ms=3000');
    run(1);
    expect(session.insmod('patch_target')).toBe(0);
    const rounds: number[] = [];
    session.machine.events.subscribe(
      (event) => {
        if (event.type === 'transition' && event.what === 'signaling remaining tasks') rounds.push(event.t);
      },
      ['transition'],
    );
    run(34);
    expect(rounds).toHaveLength(2);
    expect(rounds[1] - rounds[0]).toBeCloseTo(15 * SECOND, -8);
    expect(session.machine.dmesg().filter((line) => line.includes('signaling'))).toHaveLength(1);
    expect(session.settled()).toBe(true);
  });
});
