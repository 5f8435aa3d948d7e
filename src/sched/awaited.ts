// Which task another one waits for, as far as the kernel itself knows: who stops a kthread, who waits for a work that runs,
// for a mutex. Whom a completion waits for nobody knows: which one it is, is kept.
// It has no counterpart in the kernel, which finds such waits by lockdep's maps.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';

export class Awaited {
  readonly #waits = new Map<TaskStruct, () => TaskStruct | undefined>();
  readonly #completions = new Map<TaskStruct, Addr>();
  /** Called when a wait begins. */
  onWait: ((call: HostCall) => HostGenerator<void>) | undefined;

  /** Whom a task waits for; undefined where that is not known, or nobody. */
  by(task: TaskStruct): TaskStruct | undefined {
    return this.#waits.get(task)?.();
  }

  /** The struct completion that a task sleeps on. */
  completionOf(task: TaskStruct): Addr | undefined {
    return this.#completions.get(task);
  }

  /** A task does `wait`, for whoever that is meanwhile. */
  *during<T>(
    task: TaskStruct,
    call: HostCall,
    whom: () => TaskStruct | undefined,
    wait: () => HostGenerator<T>,
  ): HostGenerator<T> {
    const before = this.#waits.get(task);
    this.#waits.set(task, whom);
    try {
      if (this.onWait) yield* this.onWait(call);
      return yield* wait();
    } finally {
      if (before) this.#waits.set(task, before);
      else this.#waits.delete(task);
    }
  }

  /** A task goes to sleep on a mutex, until sleepEnded(). */
  mutexSleep(task: TaskStruct, owner: () => TaskStruct | undefined): void {
    this.#waits.set(task, owner);
  }

  completionSleep(task: TaskStruct, completion: Addr): void {
    this.#completions.set(task, completion);
  }

  mutexSleepEnded(task: TaskStruct): void {
    this.#waits.delete(task);
  }

  completionSleepEnded(task: TaskStruct): void {
    this.#completions.delete(task);
  }

  /** A task that died waits no more. */
  forget(task: TaskStruct): void {
    this.#waits.delete(task);
    this.#completions.delete(task);
  }
}
