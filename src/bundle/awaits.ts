// Whether a task cannot go on before another one does: along what each waits for, as far as that is known.
// It has no counterpart in the kernel.
//
// Invariant: a completion is said to be another task's to complete only when nobody else could: the sleeper is in the code
// of a module, the other one too, no third task is, and no timer or work of the module is to run.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { ModuleList } from '../module/modules.ts';

/** What the scheduler knows of waits. */
export interface AwaitedPort {
  by(task: TaskStruct): TaskStruct | undefined;
  completionOf(task: TaskStruct): Addr | undefined;
  /** Functions of timers and works that are to run. */
  pendingFunctions(): readonly Addr[];
}

export class Awaits {
  readonly #core: KernelCore;
  readonly #modules: ModuleList;
  readonly #stack: (task: TaskStruct) => string[];
  readonly #awaited: AwaitedPort;

  constructor(
    core: KernelCore,
    modules: ModuleList,
    stack: (task: TaskStruct) => string[],
    awaited: AwaitedPort,
  ) {
    this.#core = core;
    this.#modules = modules;
    this.#stack = stack;
    this.#awaited = awaited;
  }

  /** Who waits for whom from one task to another, both included; undefined where it is not known that it does. */
  path(from: TaskStruct, to: TaskStruct): readonly TaskStruct[] | undefined {
    const path = [from];
    for (let at = from; at !== to; ) {
      const next = this.#awaited.by(at) ?? this.#completer(at, to);
      if (!next || path.includes(next)) return undefined;
      path.push(next);
      at = next;
    }
    return path.length > 1 ? path : undefined;
  }

  #completer(sleeper: TaskStruct, other: TaskStruct): TaskStruct | undefined {
    if (this.#awaited.completionOf(sleeper) === undefined) return undefined;
    const [name] = this.#modulesOf(sleeper);
    if (name === undefined || !this.#modulesOf(other).includes(name)) return undefined;
    const mod = this.#modules.find(name);
    if (!mod || this.#awaited.pendingFunctions().some((fn) => mod.containsText(fn))) return undefined;
    const third = [...this.#core.tasks.processes()].some(
      (task) => task !== sleeper && task !== other && this.#modulesOf(task).includes(name),
    );
    return third ? undefined : other;
  }

  /** Modules whose code is on a task's stack, the innermost first. */
  #modulesOf(task: TaskStruct): string[] {
    return this.#stack(task).flatMap((line) => / \[(\w+)\]$/.exec(line)?.[1] ?? []);
  }
}
