// What every subsystem of the kernel model stands on: memory, symbols, log, heap, per-CPU data, tasks,
// and the table of host functions. Subsystems get it in their constructor and define their host
// functions in it; none of them knows the machine that runs them.

import type { Arch } from '../arch/arch.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunctions } from '../guest/hostcall.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { Choices } from './choices.ts';
import type { KernelDescription } from './description.ts';
import type { EventLog } from './events.ts';
import type { FaultInject } from './fault_inject.ts';
import type { Kallsyms } from './kallsyms.ts';
import type { PerCpu } from './percpu.ts';
import type { Printk } from './printk.ts';
import type { SeededRandom } from './random.ts';
import type { Slab } from './slab.ts';
import type { TaskStruct, TaskTable } from './task_struct.ts';

/** Virtual time: ns since boot, made of executed instructions and timers. */
interface Clock {
  now(): number;
}

export interface KernelCore {
  /** Which kernel this is: offsets, sizes and constants of its structures. */
  readonly kernel: KernelDescription;
  /** The port: registers, opcodes and conventions of the machine's instruction set. */
  readonly arch: Arch;
  readonly mem: GuestMemory;
  readonly clock: Clock;
  readonly events: EventLog;
  readonly printk: Printk;
  readonly symbols: Kallsyms;
  readonly slab: Slab;
  readonly percpu: PerCpu;
  readonly tasks: TaskTable;
  readonly host: HostFunctions;
  readonly random: SeededRandom;
  /** Whatever an order of events depends on. */
  readonly choices: Choices;
  /** Faults on request: until one is armed nothing fails that would not. */
  readonly faults: FaultInject;
  /** Number of emulated CPUs. */
  readonly cpus: number;
  /** Kernel and users are kept from each other's memory, and users' programs have address spaces of their own. */
  readonly protection?: boolean;
  /** TAINT_ bits, as in /proc/sys/kernel/tainted. */
  taints: number;
  /** debug_locks: cleared for good by an oops, and by taints that say so. */
  debugLocks?: boolean;
  /** The CPU that executes now. */
  here(): number;
  /** The task that a CPU executes: the per-CPU current_task. */
  current(cpu: number): TaskStruct;
  /** The task that made a host call. */
  currentOf(call: HostCall): TaskStruct;
  /** %pS of an address. */
  sym(addr: Addr): string;
}

/** -errno as the guest sees it in the result register. */
export function negErrno(errno: number): bigint {
  return BigInt.asUintN(64, BigInt(-errno));
}
