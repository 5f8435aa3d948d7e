// What the kernel makes of exceptions: the handlers that the port's entry code calls, as host functions, and what they ask
// of the kernel's common half. Mirrors the seam between arch/*/kernel/traps.c, arch/*/mm/fault.c and what those call.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunctions } from '../guest/hostcall.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { KernelNumbers } from './kernel_side.ts';
import type { Processor } from './processor.ts';

/** A task, as far as messages about it go. */
export interface TrapTask {
  readonly pid: number;
  readonly comm: string;
  readonly isKthread: boolean;
  /** It is in do_exit() (PF_EXITING). */
  readonly isExiting: boolean;
}

export interface DieOptions {
  /** A line printed after the modules. */
  readonly note?: string;
  /** In an exception that enters as an NMI does: what dies there is the machine. */
  readonly nmi?: boolean;
}

/** An entry of an exception table: what becomes of the code when its instruction faults. */
export interface ExceptionEntry {
  readonly fixup: Addr;
  /** What is done besides: the port's to read. */
  readonly data: number;
}

/** Stack that lies above a guard page, [begin, end). */
export interface GuardedStack {
  readonly begin: Addr;
  readonly end: Addr;
}

/** The common half. `regs` is always the address of the struct pt_regs of what was interrupted. */
export interface TrapKernel {
  readonly mem: GuestMemory;
  readonly host: HostFunctions;
  /** Of the kernel's description. */
  readonly constants: KernelNumbers['constants'];
  processor(cpu: number): Processor;
  currentOf(call: HostCall): TrapTask;
  /** printk() at a KERN_ level. */
  log(level: number, text: string): void;
  /** %pB of a return address. */
  formatReturn(addr: Addr): string;
  preemptCount(cpu: number): number;
  /** True when the breakpoint was of a site that is being changed: the registers then say where to go on. */
  pokeBreakpoint(regs: Addr): boolean;
  /** search_exception_tables(): of the kernel and of modules. */
  searchExceptionTables(pc: Addr): ExceptionEntry | undefined;
  /** Whether the CPUs keep the kernel from the memory of users, and those from the kernel's. */
  readonly protection: boolean;
  /** report_bug(): what the undefined instruction at `pc` stands for, once that is printed. */
  reportBug(call: HostCall, regs: Addr, pc: Addr): 'none' | 'warning' | 'bug';
  /** report_bug_entry(): the same of a struct bug_entry. */
  reportBugEntry(call: HostCall, regs: Addr, entry: Addr): 'warning' | 'bug';
  /** The mapping of user text that an address is in. */
  userText(addr: Addr): { readonly start: Addr; readonly size: number } | undefined;
  /** show_opcodes() of the current task's own user code. */
  userOpcodes(cpu: number, pc: Addr): string[];
  /** force_sig() on the current task. */
  forceSig(call: HostCall, sig: number): void;
  /** get_stack_guard_info(): the stack in whose guard page an address is. */
  stackGuard(address: Addr): GuardedStack | undefined;
  /** Whether the magic at the end of the current task's stack was overwritten. */
  stackEndCorrupted(call: HostCall): boolean;
  /** die() up to where the task has to be ended. @throws GuestPanic in an interrupt */
  die(cpu: number, regs: Addr, what: string, error: number, options?: DieOptions): void;
  /** What is on the CPU's kernel stack is given up: no host function on it goes on. */
  abandonStack(cpu: number): void;
  /** @throws GuestPanic */
  panic(cpu: number, message: string): never;
}

/** Defines the host functions that the port's entry code names. */
export type DefineTraps = (kernel: TrapKernel) => void;
