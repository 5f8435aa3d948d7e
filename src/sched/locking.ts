// Where tasks wait for each other: mutexes, completions, wait queues. Mirrors kernel/locking/mutex.c,
// kernel/sched/completion.c, wait.c. The sleeping is guest code; here is who waits and who is next.
//
// Invariant: a mutex's owner word is the owner's task_struct, plus MUTEX_FLAG_WAITERS while somebody
// waits, as in the kernel, so that the guest's fast paths see the truth.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants } from '../kernel/description.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import { Awaited } from './awaited.ts';
import type { Sched } from './core.ts';

const MUTEX_FLAG_WAITERS = 1n;
const { EINTR, ERESTARTSYS } = UAPI;

export class Locking {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  readonly #ownerAt: bigint;
  readonly #doneAt: bigint;
  readonly #sched: Sched;
  /** complete() of a real kernel. */
  readonly #native: Addr | undefined;
  /** By the address of what they wait for, which may be on a stack: gone with the last of them. */
  readonly #waiters = new Map<Addr, TaskStruct[]>();
  readonly awaited = new Awaited();

  constructor(core: KernelCore, sched: Sched) {
    this.#core = core;
    this.#constants = core.kernel.constants;
    this.#ownerAt = BigInt(core.kernel.structs.mutex.fields.owner);
    this.#doneAt = BigInt(core.kernel.structs.completion.fields.done);
    this.#sched = sched;
    const isNative = core.symbols.lookupName('swake_up_locked') !== undefined;
    this.#native = isNative ? core.symbols.require('complete') : undefined;
    core.host.defineAll({
      mutex_try_or_wait: (call) => this.#mutexTryOrWait(call),
      try_or_wait_for_completion: (call) => this.#completionTryOrWait(call),
    });
    core.host.offerAll({
      __mutex_unlock_slowpath: ({ args }) => this.#mutexUnlock(args[0]),
      complete: ({ args: [x] }) => this.#complete(x),
      complete_all: ({ args: [x] }) => this.#completeAll(x),
    });
  }

  #mutexTryOrWait(call: HostCall): number | HostGenerator<number> {
    const [lock] = call.args;
    const task = this.#core.currentOf(call);
    const owner = (): TaskStruct | undefined =>
      this.#core.tasks.byAddr(this.#core.mem.readU64(lock + this.#ownerAt) & ~7n);
    const begins = (): void => this.awaited.mutexSleep(task, owner);
    const ended = (): void => this.awaited.mutexSleepEnded(task);
    const free = owner() === undefined;
    return this.#asWait(call, free, begins, ended, () => this.#mutexTry(call));
  }

  /** One try of a wait; who wants to know is told before the task goes to sleep for the first time. */
  #asWait(
    call: HostCall,
    free: boolean,
    begins: () => void,
    ended: () => void,
    attempt: () => number,
  ): number | HostGenerator<number> {
    const { onWait } = this.awaited;
    if (free || !onWait) {
      const result = attempt();
      if (result <= 0) ended();
      else begins();
      return result;
    }
    return (function* () {
      begins();
      yield* onWait(call);
      const result = attempt();
      if (result <= 0) ended();
      return result;
    })();
  }

  #mutexTry(call: HostCall): number {
    const lock = call.args[0];
    const task = this.#core.currentOf(call);
    const owner = this.#core.mem.readU64(lock + this.#ownerAt) & ~7n;
    if (owner === 0n) {
      this.#leave(lock, task);
      const flags = this.#waitersFor(lock).length > 0 ? MUTEX_FLAG_WAITERS : 0n;
      this.#core.mem.writeU64(lock + this.#ownerAt, task.addr | flags);
      task.state = this.#constants.TASK_RUNNING;
      return 0;
    }
    const state = Number(call.args[1]);
    if (this.#signalPending(task, state)) {
      this.#leave(lock, task);
      return -EINTR;
    }
    this.#enter(lock, task);
    this.#core.mem.writeU64(lock + this.#ownerAt, owner | MUTEX_FLAG_WAITERS);
    task.state = state;
    return 1;
  }

  /** Mirrors mutex_unlock(): the first waiter is woken, and competes for the lock. */
  #mutexUnlock(lock: Addr): void {
    const queue = this.#waitersFor(lock);
    this.#core.mem.writeU64(lock + this.#ownerAt, queue.length > 0 ? MUTEX_FLAG_WAITERS : 0n);
    if (queue.length > 0) this.#sched.wakeUpProcess(this.#oneOf(queue));
  }

  #completionTryOrWait(call: HostCall): number | HostGenerator<number> {
    const [x] = call.args;
    const task = this.#core.currentOf(call);
    const begins = (): void => this.awaited.completionSleep(task, x);
    const ended = (): void => this.awaited.completionSleepEnded(task);
    const free = this.#core.mem.readU32(x + this.#doneAt) > 0;
    return this.#asWait(call, free, begins, ended, () => this.#completionTry(call));
  }

  #completionTry(call: HostCall): number {
    const [x, state] = call.args;
    const task = this.#core.currentOf(call);
    const done = this.#core.mem.readU32(x + this.#doneAt);
    if (done > 0) {
      this.#leave(x, task);
      if (done !== 0xffffffff) this.#core.mem.writeU32(x + this.#doneAt, done - 1); // UINT_MAX: complete_all()
      task.state = this.#constants.TASK_RUNNING;
      return 0;
    }
    if (this.#signalPending(task, Number(state))) {
      this.#leave(x, task);
      return -ERESTARTSYS;
    }
    this.#enter(x, task);
    task.state = Number(state);
    return 1;
  }

  /** signal_pending_state() */
  #signalPending(task: TaskStruct, state: number): boolean {
    const { TASK_INTERRUPTIBLE, TASK_WAKEKILL } = this.#constants;
    if (state & TASK_INTERRUPTIBLE)
      return task.testTif('TIF_SIGPENDING') || task.testTif('TIF_NOTIFY_SIGNAL');
    return (state & TASK_WAKEKILL) !== 0 && this.#sched.fatalSignalPending(task);
  }

  #complete(x: Addr): undefined {
    const { mem } = this.#core;
    const done = mem.readU32(x + this.#doneAt);
    if (done !== 0xffffffff) mem.writeU32(x + this.#doneAt, done + 1);
    const queue = this.#waitersFor(x);
    if (queue.length > 0) this.#sched.wakeUpProcess(this.#oneOf(queue));
  }

  /**
   * complete(), for host functions. A real kernel's is its own (machine/native/hosted.ts): who waits is in its list.
   * @returns undefined where it is done at once
   */
  completing(x: Addr): HostGenerator<void> | undefined {
    if (this.#native === undefined) return this.#complete(x);
    return called(this.#native, x);
  }

  #completeAll(x: Addr): void {
    this.#core.mem.writeU32(x + this.#doneAt, 0xffffffff);
    for (const task of this.#waitersFor(x)) this.#sched.wakeUpProcess(task);
  }

  /** A task that died while it waited waits no more. */
  forget(task: TaskStruct): void {
    this.awaited.forget(task);
    for (const addr of [...this.#waiters.keys()]) this.#leave(addr, task);
  }

  #oneOf(queue: readonly TaskStruct[]): TaskStruct {
    return queue[this.#core.choices.choose('waiter', queue.length)];
  }

  #waitersFor(addr: Addr): readonly TaskStruct[] {
    return this.#waiters.get(addr) ?? [];
  }

  #enter(addr: Addr, task: TaskStruct): void {
    const queue = this.#waiters.get(addr);
    if (!queue) this.#waiters.set(addr, [task]);
    else if (!queue.includes(task)) queue.push(task);
  }

  #leave(addr: Addr, task: TaskStruct): void {
    const queue = this.#waiters.get(addr);
    const at = queue?.indexOf(task) ?? -1;
    if (!queue || at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.#waiters.delete(addr);
  }
}

function* called(call: Addr, x: Addr): HostGenerator<void> {
  yield { call, args: [x] };
}
