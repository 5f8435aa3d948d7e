// Which task another one waits for, as far as the kernel itself knows: who stops a kthread, who flushes a work that runs.
// It has no counterpart in the kernel, which finds such waits by lockdep's maps.

import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';

export class Awaited {
  readonly #waits = new Map<TaskStruct, () => TaskStruct | undefined>();
  /** Called when a wait begins. */
  onWait: ((call: HostCall) => HostGenerator<void>) | undefined;

  /** Whom a task waits for; undefined where that is not known, or nobody. */
  by(task: TaskStruct): TaskStruct | undefined {
    return this.#waits.get(task)?.();
  }

  /** A task does `wait`, for whoever that is meanwhile. */
  *during<T>(
    task: TaskStruct,
    call: HostCall,
    whom: () => TaskStruct | undefined,
    wait: () => HostGenerator<T>,
  ): HostGenerator<T> {
    this.#waits.set(task, whom);
    try {
      if (this.onWait) yield* this.onWait(call);
      return yield* wait();
    } finally {
      this.#waits.delete(task);
    }
  }
}
