// A task blocked in each sleeping primitive: stepped in and out, every instruction compared, and while it
// sleeps its reliable trace is the stack that a 6.1 kernel shows.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootWithModules, Stepper } from '../../src/check/stepper.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { Machine } from '../../src/machine/machine.ts';

const CONSTANTS = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

const { TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_KILLABLE, TASK_IDLE, TASK_FREEZABLE } = CONSTANTS;
const SIGTERM = 15;
const SWITCH = ['__schedule', 'schedule'];

let machine: Machine;
let stepper: Stepper;

beforeEach(async () => {
  machine = await bootWithModules({ cpus: 2, seed: 3 });
  stepper = new Stepper(machine);
  stepper.until(() => machine.inspect.smp.cpus.every((cpu) => cpu.halted));
});
afterEach(() => {
  expect(stepper.wrong).toEqual([]);
  machine.close();
});

/** A kernel thread whose function is one of the kernel's own. */
function thread(fn: string, arg: bigint | number): TaskStruct {
  const task = machine.inspect.kthreads.create(
    machine.inspect.core.symbols.require(fn),
    BigInt(arg),
    fn.slice(0, 15),
  );
  machine.inspect.sched.wakeUpProcess(task);
  return task;
}

/** Steps until the task is off its CPU and not runnable. */
function untilAsleep(task: TaskStruct): void {
  expect(stepper.until(() => task.state !== 0 && task.onRq === 0 && task.onCpu === 0, 50_000)).toBe(true);
}

/** Functions of the reliable trace, innermost first, which is the truth or an error. */
function blockedIn(task: TaskStruct): string[] {
  const entries = new Uint32Array(100);
  const n = machine.inspect.traces.saveReliable(task, entries, { cpu: 0, args: [], sp: 0n, caller: 0n });
  expect(n).toBeGreaterThan(0);
  return [...entries.subarray(0, n)].map((lo) => stepper.place(lo - 1).name);
}

function gone(task: TaskStruct): boolean {
  return machine.inspect.core.tasks.byAddr(task.addr) !== task;
}

function zeroed(size: number): Addr {
  return machine.inspect.core.slab.alloc(size, 'test');
}

type Row = readonly [fn: string, arg: number, state: number, above: readonly string[]];
const TIMEOUT = [...SWITCH, 'schedule_timeout'];
const NANOSLEEP = [...SWITCH, 'do_nanosleep', 'hrtimer_nanosleep'];

describe('a kernel thread asleep for a time', () => {
  it.each<Row>([
    // schedule_timeout_uninterruptible() and the like end in a tail call: they are on no stack.
    ['msleep', 8, TASK_UNINTERRUPTIBLE, [...TIMEOUT, 'msleep']],
    ['msleep_interruptible', 8, TASK_INTERRUPTIBLE, [...TIMEOUT, 'msleep_interruptible']],
    ['schedule_timeout_interruptible', 2, TASK_INTERRUPTIBLE, TIMEOUT],
    ['schedule_timeout_uninterruptible', 2, TASK_UNINTERRUPTIBLE, TIMEOUT],
    ['schedule_timeout_killable', 2, TASK_KILLABLE, TIMEOUT],
    ['schedule_timeout_idle', 2, TASK_IDLE, TIMEOUT],
    ['hrtimer_nanosleep', 8e6, TASK_INTERRUPTIBLE | TASK_FREEZABLE, NANOSLEEP],
  ])('in %s', (fn, arg, state, above) => {
    const task = thread(fn, arg);
    untilAsleep(task);
    expect(task.state).toBe(state);
    expect(blockedIn(task)).toEqual([...above, 'kthread', 'ret_from_fork']);
    expect(stepper.until(() => gone(task))).toBe(true);
  });

  it('in a schedule_timeout() without a limit, until it is woken', () => {
    const task = thread('schedule_timeout_interruptible', 0x7fffffffffffffffn);
    untilAsleep(task);
    expect(blockedIn(task)).toEqual([...TIMEOUT, 'kthread', 'ret_from_fork']);
    expect(machine.inspect.timers.next()).toBeUndefined();
    machine.inspect.sched.wakeUpProcess(task);
    expect(stepper.until(() => gone(task))).toBe(true);
  });
});

describe('a kernel thread that waits for another', () => {
  it.each([
    ['mutex_lock', TASK_UNINTERRUPTIBLE],
    ['mutex_lock_interruptible', TASK_INTERRUPTIBLE],
  ])('in %s', (fn, state) => {
    const lock = zeroed(LAYOUT.mutex.size);
    const owner = thread('mutex_lock', lock);
    expect(stepper.until(() => gone(owner))).toBe(true);
    const task = thread(fn, lock);
    untilAsleep(task);
    expect(task.state).toBe(state);
    // The way there is by tail calls: of it only __mutex_lock is left.
    expect(blockedIn(task)).toEqual([...SWITCH, '__mutex_lock', 'kthread', 'ret_from_fork']);
    const unlock = thread('mutex_unlock', lock);
    expect(stepper.until(() => gone(unlock) && gone(task))).toBe(true);
    expect(machine.inspect.core.mem.readU64(lock) & ~7n).toBe(task.addr);
  });

  it.each([
    ['wait_for_completion', TASK_UNINTERRUPTIBLE],
    ['wait_for_completion_interruptible', TASK_INTERRUPTIBLE],
  ])('in %s', (fn, state) => {
    const done = zeroed(LAYOUT.completion.size);
    const task = thread(fn, done);
    untilAsleep(task);
    expect(task.state).toBe(state);
    expect(blockedIn(task)).toEqual([...SWITCH, fn, 'kthread', 'ret_from_fork']);
    thread('complete', done);
    expect(stepper.until(() => gone(task))).toBe(true);
  });

  it.each(['flush_work', 'cancel_work_sync'])(
    'in %s, a function of the host that sleeps in guest code',
    (fn) => {
      const work = zeroed(LAYOUT.work_struct.size);
      machine.inspect.core.mem.writeU64(
        work + BigInt(LAYOUT.work_struct.fields.func),
        machine.inspect.core.symbols.require('wait_for_completion'),
      );
      machine.inspect.workqueue.queueWork(work);
      const worker = [...machine.inspect.core.tasks.processes()].find(
        (t) => t.comm === 'kworker/0:0',
      ) as TaskStruct;
      expect(stepper.until(() => machine.inspect.workqueue.info(worker) !== undefined)).toBe(true);
      const task = thread(fn, work);
      untilAsleep(task);
      expect(blockedIn(task)).toEqual([...SWITCH, fn, 'kthread', 'ret_from_fork']);
      // To the item's function, wait_for_completion(), the item is a completion that is not done.
      const item = [...SWITCH, 'wait_for_completion', 'process_one_work', 'worker_thread'];
      expect(blockedIn(worker)).toEqual([...item, 'kthread', 'ret_from_fork']);
      thread('complete', work);
      expect(stepper.until(() => gone(task))).toBe(true);
    },
  );

  it('in kthread_stop, for the thread to end', () => {
    const stopped = thread('msleep', 20);
    untilAsleep(stopped);
    const task = thread('kthread_stop', stopped.addr);
    untilAsleep(task);
    expect(blockedIn(task)).toEqual([
      ...SWITCH,
      'wait_for_completion',
      'kthread_stop',
      'kthread',
      'ret_from_fork',
    ]);
    expect(stepper.until(() => gone(stopped) && gone(task))).toBe(true);
  });
});

describe('a task that has nothing to do', () => {
  it('is a worker without work, kthreadd, or a thread that has never run', () => {
    expect(blockedIn(comm('kworker/0:0'))).toEqual([...SWITCH, 'worker_thread', 'kthread', 'ret_from_fork']);
    expect(comm('kworker/1:0').state).toBe(TASK_IDLE);
    expect(blockedIn(comm('kthreadd'))).toEqual([...SWITCH, 'kthreadd', 'ret_from_fork']);
    const { core } = machine.inspect;
    const fresh = machine.inspect.kthreads.create(core.symbols.require('msleep'), 1n, 'fresh');
    const entries = new Uint32Array(100);
    expect(
      machine.inspect.traces.saveReliable(fresh, entries, { cpu: 0, args: [], sp: 0n, caller: 0n }),
    ).toBe(1);
    expect(stepper.place(entries[0])).toEqual({ name: 'ret_from_fork', offset: 0 });
  });

  it('is one whose CPU was taken from it before it could idle', () => {
    const spins = machine.spawn('spin');
    expect(stepper.until(() => machine.inspect.core.tasks.idle[spins.cpu].onCpu === 0)).toBe(true);
    const idle = machine.inspect.core.tasks.idle[spins.cpu];
    const start = ['do_idle', 'cpu_startup_entry', 'start_secondary', 'secondary_startup_64'];
    expect(blockedIn(idle)).toEqual(['__schedule', 'schedule_idle', ...start]);
  });
});

describe('a user task blocked in a system call', () => {
  const ENTRY = ['do_syscall_64', 'entry_SYSCALL_64_after_hwframe'];
  const NANO = ['__x64_sys_nanosleep', ...ENTRY];

  it.each<readonly [string, string[], string[], number]>([
    ['pause', [], [...SWITCH, '__x64_sys_pause', ...ENTRY], 0],
    ['sleep', ['10', '1'], [...NANOSLEEP, ...NANO], TASK_FREEZABLE],
    ['forker', ['20', '1'], [...SWITCH, 'do_wait', 'kernel_wait4', '__x64_sys_wait4', ...ENTRY], 0],
  ])('%s', (program, args, functions, besides) => {
    const task = machine.spawn(program, args);
    untilAsleep(task);
    expect(task.state).toBe(TASK_INTERRUPTIBLE | besides);
    expect(blockedIn(task)).toEqual(functions);
    if (program === 'pause') machine.inspect.exit.sendSignal(task, SIGTERM);
    expect(stepper.toEnd(task)).toBe(program === 'pause' ? 128 + SIGTERM : 0);
  });

  it('a reader in the show function of a module, asleep', () => {
    expect(stepper.toEnd(machine.insmod('/klpdemo_target.ko', 'show_ms=20'))).toBe(0);
    const task = machine.spawn('cat', ['/proc/klpdemo']);
    untilAsleep(task);
    const seq = ['seq_read_iter', 'proc_reg_read_iter', 'vfs_read', 'ksys_read'];
    const show = ['klpdemo_show_counts', 'klpdemo_proc_show'];
    const functions = blockedIn(task);
    expect(functions).toEqual([...TIMEOUT, 'msleep', ...show, ...seq, ...ENTRY]);
    expect(stepper.toEnd(task)).toBe(0);
  });

  it('the thread of a module at the bottom of its chain of frames of every shape', () => {
    expect(stepper.toEnd(machine.insmod('/klpdemo_target.ko'))).toBe(0);
    const task = comm('klpdemo_worker');
    untilAsleep(task);
    const descend = Array.from({ length: 3 }, () => 'klpdemo_descend');
    const stages = ['alloca', 'drap', 'aligned', 'locals', 'saved'].map((stage) => `klpdemo_stage_${stage}`);
    const main = ['klpdemo_round', 'klpdemo_main', 'kthread', 'ret_from_fork'];
    expect(blockedIn(task)).toEqual([...TIMEOUT, 'msleep', 'klpdemo_wait', ...descend, ...stages, ...main]);
  });
});

function comm(name: string): TaskStruct {
  return [...machine.inspect.core.tasks.processes()].find((t) => t.comm === name) as TaskStruct;
}
