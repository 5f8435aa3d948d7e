// Tasks that a transition takes for switched while they stand in a part of a replaced function, split off by the
// compiler: klp_check_stack_func() of kernel/livepatch/transition.c compares with the function's own range only.
//
// Invariant: each is told once a transition, with the part that it stands in.

import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Piece } from './version.ts';

export class PartHoles {
  readonly #core: KernelCore;
  /** Starts of the parts that were told of each task in the transition under way. */
  #told = new Map<TaskStruct, Set<number>>();
  count = 0;

  constructor(core: KernelCore) {
    this.#core = core;
  }

  /** A transition begins, or turns round. */
  begin(): void {
    this.#told = new Map();
  }

  tell(task: TaskStruct, { version, name: part, start }: Piece, patch: string): void {
    const told = this.#told.get(task) ?? new Set();
    if (told.has(start)) return;
    this.#told.set(task, told.add(start));
    this.count++;
    const { pid, comm } = task;
    const { func, name } = version;
    this.#core.events.emit({ type: 'hole', pid, comm, func, version: name, part, patch });
  }

  /** The task is gone. */
  forget(task: TaskStruct): void {
    this.#told.delete(task);
  }
}
