// Whether a task cannot go on before another one does: along what each waits for, as far as that is known.
// It has no counterpart in the kernel.
//
// Invariant: a completion is said to be another task's to complete, and a wait queue of a module another's to wake, only when
// nobody else could: the sleeper is in the code of a module, the other one too, no third task is, and no timer or work of the
// module is to run.

import { type Addr, THREAD_SIZE } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Module } from '../module/module.ts';
import type { ModuleList } from '../module/modules.ts';

/** What the scheduler knows of waits. */
export interface AwaitedPort {
  by(task: TaskStruct): TaskStruct | undefined;
  completionOf(task: TaskStruct): Addr | undefined;
  /** Functions of timers and works that are to run. */
  pendingFunctions(): readonly Addr[];
  /** A timer ends the task's sleep. */
  wakesByItself(task: TaskStruct): boolean;
}

/** Entries of a wait queue that are followed from one to its head. */
const LONGEST_QUEUE = 64;

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
    const [name] = this.#modulesOf(sleeper);
    if (name === undefined || !this.#modulesOf(other).includes(name)) return undefined;
    const mod = this.#modules.find(name);
    if (!mod) return undefined;
    if (this.#awaited.completionOf(sleeper) === undefined && !this.#isQueued(sleeper, mod)) return undefined;
    if (this.#awaited.pendingFunctions().some((fn) => mod.containsText(fn))) return undefined;
    const third = [...this.#core.tasks.processes()].some(
      (task) => task !== sleeper && task !== other && this.#modulesOf(task).includes(name),
    );
    return third ? undefined : other;
  }

  /** wait_event(): the task sleeps without a timer, and its entry, on its stack, is in a wait queue of the module. */
  #isQueued(task: TaskStruct, mod: Module): boolean {
    const { mem, kernel } = this.#core;
    const { private: owner, entry, entry_next: next } = kernel.structs.wait_queue_entry.fields;
    if (task.onCpu || task.onRq || this.#awaited.wakesByItself(task)) return false;
    const end = task.stackBase + BigInt(THREAD_SIZE);
    for (let at = task.sp; at + 8n <= end; at += 8n) {
      if (mem.readU64(at) !== task.addr) continue;
      const node = at - BigInt(owner) + BigInt(entry);
      const after = at - BigInt(owner) + BigInt(next);
      if (mem.isMapped(after, 8) && this.#leadsTo(mem.readU64(after), node, mod)) return true;
    }
    return false;
  }

  /** Along list_head.next, from behind a node to the head in the module's data. */
  #leadsTo(from: Addr, node: Addr, mod: Module): boolean {
    const { mem, kernel } = this.#core;
    const { next } = kernel.structs.list_head.fields;
    let at = from;
    for (let i = 0; i < LONGEST_QUEUE && at !== node && mem.isMapped(at, 16); i++) {
      if (mod.contains(at)) return true;
      at = mem.readU64(at + BigInt(next));
    }
    return false;
  }

  /** Modules whose code is on a task's stack, the innermost first. */
  #modulesOf(task: TaskStruct): string[] {
    return this.#stack(task).flatMap((line) => / \[(\w+)\]$/.exec(line)?.[1] ?? []);
  }
}
