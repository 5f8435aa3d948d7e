// What forcing a transition leaves open: a task that was switched while it stands in a function goes on in a
// version that no later stack check looks for. Mirrors nothing of the kernel's, which does not know
// (klp_force_transition() of kernel/livepatch/transition.c, klp_check_stack_func()).
//
// Invariant: a task is held to stand in what force left it in until it has left; each is told once a patch.

import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Piece } from './version.ts';

interface Left {
  readonly piece: Piece;
  /** The patch whose transition was forced. */
  readonly forced: string;
  /** Patches that have switched the task, or completed, over it. */
  readonly told: Set<string>;
}

export class ForceHoles {
  readonly #core: KernelCore;
  readonly #left = new Map<TaskStruct, Left[]>();
  /** Tasks found in replaced code by a transition that does not look there. */
  count = 0;

  constructor(core: KernelCore) {
    this.#core = core;
  }

  /** Force switches a task that stands in these. */
  leave(task: TaskStruct, pieces: Iterable<Piece>, forced: string): void {
    const left = [...pieces].map((piece) => ({ piece, forced, told: new Set<string>() }));
    if (left.length > 0) this.#left.set(task, [...(this.#left.get(task) ?? []), ...left]);
  }

  /** Code that a task was left in. */
  of(task: TaskStruct): readonly Piece[] {
    return this.#left.get(task)?.map(({ piece }) => piece) ?? [];
  }

  /** The task stands in these of what it was left in; it has come out of the others. */
  keep(task: TaskStruct, live: ReadonlySet<Piece>): void {
    const left = this.#left.get(task)?.filter(({ piece }) => live.has(piece));
    if (left?.length) this.#left.set(task, left);
    else this.#left.delete(task);
  }

  /**
   * A transition takes the task for switched, or is complete. Tells of every version that it was left in and that
   * is not what the transition leads to.
   * @param funcs what the patch replaces, by entry, and the start of the version that is to run from now on
   * @returns whether it stands in any such
   */
  tell(task: TaskStruct, patch: string, funcs: ReadonlyMap<number, number>): boolean {
    let any = false;
    for (const { piece, forced, told } of this.#left.get(task) ?? []) {
      const { func, name: version, entry, start } = piece.version;
      const wanted = funcs.get(entry);
      if (wanted === undefined || wanted === start) continue;
      any = true;
      if (told.has(patch)) continue;
      told.add(patch);
      this.count++;
      const { pid, comm } = task;
      const part = piece.part ? { part: piece.name } : {};
      this.#core.events.emit({ type: 'hole', pid, comm, func, version, forced, patch, ...part });
    }
    return any;
  }

  /** The task is gone. */
  forget(task: TaskStruct): void {
    this.#left.delete(task);
  }
}
