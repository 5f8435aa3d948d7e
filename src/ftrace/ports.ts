// What ftrace needs from the subsystems beside it; src/machine wires them.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';

/** Other CPUs, as text poking sees them. */
export interface SmpPort {
  /** text_poke_sync(): returns when every other CPU has been through a serialising instruction, or idles. */
  syncCores(): HostGenerator<void>;
}

/** module_alloc(): memory in reach of a call from kernel text, mapped writable and not executable; undefined: full. */
interface ModuleMemoryPort {
  alloc(size: number): Addr | undefined;
  free(addr: Addr): void;
}

/** What must have passed before a trampoline's memory can go. */
interface RcuTasksPort {
  /** synchronize_rcu_tasks_rude(): every CPU has scheduled. */
  synchronizeRcuTasksRude(): HostGenerator<void>;
  /** synchronize_rcu_tasks(): every runnable task has slept, or run in user mode, by its own will. */
  synchronizeRcuTasks(): HostGenerator<void>;
}

/** The unwinder's table of trampolines (OrcLookup). Low 32 bits of addresses. */
interface TrampolineTable<Handle = unknown> {
  addTrampoline(spec: { name: string; start: number; size: number; template: number }): Handle;
  remove(handle: Handle): void;
}

export interface FtracePorts {
  readonly smp: SmpPort;
  readonly memory: ModuleMemoryPort;
  readonly rcu: RcuTasksPort;
  // biome-ignore lint/suspicious/noExplicitAny: the handle is the table's own affair
  readonly trampolines?: TrampolineTable<any>;
}
