// What forcing a transition leaves open: a task that was switched while it stands in a function goes on in a
// version that no later stack check looks for. Mirrors nothing of the kernel's, which does not know
// (klp_force_transition() of kernel/livepatch/transition.c, klp_check_stack_func()).
//
// Invariant: a task is held to stand in what force left it in until it has left; each is told once a patch.

import type { KernelCore } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { KlpFunc } from '../livepatch/structs.ts';

/** A version of a function. Low halves; `end` is behind its last byte. */
export interface Version {
  /** old_name, whichever version it is. */
  readonly func: string;
  /** Entry of the original function. */
  readonly site: number;
  /** Its own name. */
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

export function inVersion(versions: readonly Version[], ip: number): Version | undefined {
  return versions.find((v) => ip >= v.start && ip < v.end);
}

interface Left extends Version {
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

  /** Has force left any task behind that may still be there? */
  get any(): boolean {
    return this.#left.size > 0;
  }

  /** Force switches a task that stands in these. */
  leave(task: TaskStruct, versions: Iterable<Version>, forced: string): void {
    const left = [...versions].map((version) => ({ ...version, forced, told: new Set<string>() }));
    if (left.length > 0) this.#left.set(task, [...(this.#left.get(task) ?? []), ...left]);
  }

  /** Versions that a task was left in. */
  of(task: TaskStruct): readonly Version[] {
    return this.#left.get(task) ?? [];
  }

  /** The task stands in these of what it was left in; it has come out of the others. */
  keep(task: TaskStruct, live: ReadonlySet<Version>): void {
    const left = this.#left.get(task)?.filter((one) => live.has(one));
    if (left?.length) this.#left.set(task, left);
    else this.#left.delete(task);
  }

  /**
   * A transition takes the task for switched, or is complete. Tells of every version that it was left in and that
   * is not what the transition leads to.
   * @param funcs what the patch replaces, by site, and the start of the version that is to run from now on
   */
  tell(task: TaskStruct, patch: string, funcs: ReadonlyMap<number, number>): void {
    for (const left of this.#left.get(task) ?? []) {
      const wanted = funcs.get(left.site);
      if (wanted === undefined || wanted === left.start || left.told.has(patch)) continue;
      left.told.add(patch);
      this.count++;
      const { func, name: version, forced } = left;
      this.#core.events.emit({ type: 'hole', pid: task.pid, comm: task.comm, func, version, forced, patch });
    }
  }

  /** The task is gone. */
  forget(task: TaskStruct): void {
    this.#left.delete(task);
  }
}

/** A version by the klp_func that has it. */
export function newVersion(core: KernelCore, func: KlpFunc, site: number, start: number): Version {
  const name = core.symbols.lookup(func.newFunc)?.name ?? '?';
  return { func: func.oldName ?? '?', site, name, start, end: start + func.newSize };
}
