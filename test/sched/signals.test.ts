// Which signals end a sleep that only a fatal one may end (TASK_KILLABLE).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { MS, World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.boot();
});
afterEach(() => world.close());

/** A task asleep in pause(), made killable there. */
function killable() {
  const { machine } = world;
  const { TASK_KILLABLE, TASK_INTERRUPTIBLE } = machine.inspect.core.kernel.constants;
  const task = machine.spawn('pause');
  expect(machine.runUntil(() => task.state === TASK_INTERRUPTIBLE && !task.onCpu, 100 * MS)).toBe(true);
  task.state = TASK_KILLABLE;
  return task;
}

describe('a killable sleep', () => {
  it.each([
    ['SIGKILL', 9],
    ['SIGTERM', 15],
    ['SIGINT', 2],
    ['a real-time signal', 34],
  ])('is ended by %s, and the task with it', (_, sig) => {
    const task = killable();
    world.machine.inspect.exit.sendSignal(task, sig);
    world.machine.runFor(20 * MS);
    expect(world.machine.exitStatus(task)).toBe(128 + sig);
  });

  it.each([
    ['SIGQUIT', 3],
    ['SIGABRT', 6],
    ['SIGSEGV', 11],
  ])('is not ended by %s, which leaves a core', (_, sig) => {
    const task = killable();
    const { TASK_KILLABLE } = world.machine.inspect.core.kernel.constants;
    world.machine.inspect.exit.sendSignal(task, sig);
    world.machine.runFor(20 * MS);
    expect([task.state, world.machine.exitStatus(task)]).toEqual([TASK_KILLABLE, undefined]);
    world.machine.inspect.exit.sendSignal(task, 15);
    world.machine.runFor(20 * MS);
    expect(world.machine.exitStatus(task)).toBe(128 + sig);
  });
});

describe('prepare_to_wait_event()', () => {
  const { TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_KILLABLE } = BUILT_IN.constants;
  const QUEUE_SIZE = 24;
  const QUEUED = 0;
  const ERESTARTSYS = -512;

  /** A kernel thread that calls it once it may run; with a signal of a task, as sendSignal() leaves it. */
  async function result(state: number, sig: number | undefined): Promise<number> {
    const { core, exit } = world.machine.inspect;
    const [queue, answer] = [world.zeroed(QUEUE_SIZE + 64), world.zeroed(8)];
    const fn = await world.kernel(`
      sub rsp, 72
      call mutex_lock
      movabs rdi, ${queue}
      lea rax, [rdi+8]
      mov [rdi+8], rax
      mov [rdi+16], rax
      mov rdi, rsp
      xor esi, esi
      call init_wait_entry
      movabs rdi, ${queue}
      mov rsi, rsp
      mov edx, ${state}
      call prepare_to_wait_event
      movabs rcx, ${answer}
      mov [rcx], eax
      movabs rdi, ${queue}
      mov rsi, rsp
      call finish_wait
      add rsp, 72
      ret`);
    const lock = world.zeroed(BUILT_IN.structs.mutex.size);
    const release = await world.kernel(
      `push rbx\nmov rbx, rdi\ncall mutex_lock\nmov edi, 5\ncall schedule_timeout_uninterruptible\nmov rdi, rbx\ncall mutex_unlock\npop rbx\nret`,
    );
    expect(world.untilAsleep(world.thread(release, lock))).toBe(true);
    const task = world.thread(fn, lock);
    expect(world.untilAsleep(task)).toBe(true);
    // No kernel thread gets signals by kill(): for the while it is none.
    const { PF_KTHREAD } = core.kernel.constants;
    task.flags &= ~PF_KTHREAD;
    if (sig !== undefined) exit.sendSignal(task, sig);
    task.flags |= PF_KTHREAD;
    expect(world.untilGone([task])).toBe(true);
    return world.u32(answer) | 0;
  }

  it.each([
    ['interruptible', TASK_INTERRUPTIBLE, 'no signal', undefined, QUEUED],
    ['interruptible', TASK_INTERRUPTIBLE, 'one that leaves a core', 3, ERESTARTSYS],
    ['interruptible', TASK_INTERRUPTIBLE, 'one that is fatal', 15, ERESTARTSYS],
    ['killable', TASK_KILLABLE, 'no signal', undefined, QUEUED],
    ['killable', TASK_KILLABLE, 'one that leaves a core', 3, QUEUED],
    ['killable', TASK_KILLABLE, 'one that is fatal', 15, ERESTARTSYS],
    ['uninterruptible', TASK_UNINTERRUPTIBLE, 'one that is fatal', 9, QUEUED],
  ])('of an %s sleep (%i), with %s (%s), returns %i', async (_, state, __, sig, returned) => {
    expect(await result(state, sig)).toBe(returned);
  });
});
