// How a port finds callers on a stack. Mirrors struct unwind_state and its users of arch/*/kernel/stacktrace.c, and
// what CONFIG_HAVE_RELIABLE_STACKTRACE promises.
//
// Invariant: everything an unwinder reads lies on the task's own stack or in registers handed to it. A reliable one
// either names every caller that will be returned to, in order, to a known end, or ends in error; it is never wrong.

import type { OrcTable } from '../elf/orc.ts';

/** All task stacks in one typed array: slot i's 16 KiB are words [i * 0x1000, (i + 1) * 0x1000). */
export interface StackArena {
  readonly words: Uint32Array;
}

/** A task as far as its stack goes; a TaskStruct is one. */
export interface UnwindTask {
  /** Index of its stack slot; -1 for a task whose stack is gone (a zombie), whose trace is reliably empty. */
  readonly stackSlot: number;
  /** Not 0 while a CPU executes the task: its saved stack pointer says nothing then. */
  readonly onCpu: number;
  /** Low 32 bits of the stack pointer of a task that is switched out. */
  readonly spLo: number;
}

/** A register file in the layout of struct pt_regs, two words a register, low word first. */
export type PtRegs = Uint32Array;

/** Which text there is. Addresses of text are low halves, signed or unsigned: it is all in the upper 2 GiB. */
export interface TextTable {
  /** The table that the index of the last successful find() belongs to. */
  readonly hit: OrcTable;
  /** The unwind entry in force at an address: an index into `hit`, or -1. */
  find(ip: number): number;
  /** __kernel_text_address() */
  kernelTextAddress(ip: number): boolean;
}

/** A walk over one task stack: where it stands. Nothing is allocated for a frame. */
export interface Unwinder {
  /** The walk is over, well or in error. */
  readonly done: boolean;
  readonly error: boolean;
  /** First thing that went wrong (FAIL_* of src/unwind/unwind_state.ts, or the port's own), and where. */
  readonly failure: number;
  readonly failedLo: number;
  readonly failedHi: number;
  /** The address the walk stands at: kernel text as int32, 0 for a null address, IP_FOREIGN for the rest; and raw. */
  readonly ip: number;
  readonly ipLo: number;
  readonly ipHi: number;
  /** Offset of the frame's pt_regs on the stack, or GIVEN, or NONE. */
  readonly regs: number;
  readonly lookup: TextTable;

  /** Start where a task that is switched out went to sleep. In error for a task that a CPU executes. */
  startInactive(task: UnwindTask): void;
  /** Start from registers, as from an exception: the first frame is the caller's. */
  startRegs(task: UnwindTask, regs: PtRegs): void;
  /** Start in the function that `regs` stand in, as the kernel does for `current`. */
  startCurrent(task: UnwindTask, regs: PtRegs): void;
  /** One frame outwards; false at the end or in error. Each step goes up the stack, so that a walk ends. */
  next(): boolean;
  /** The return address of the current frame (low 32 bits, unsigned), or 0 when it is not kernel text. */
  returnAddress(): number;
  /** Offset of the word the current return address was read from, or NONE where it was in none: a link register. */
  returnAddressAt(): number;
  /** unwind_get_entry_regs(): whether the current frame has registers. */
  hasRegs(): boolean;
  /** Whether those are of user mode: the one end that a user task's stack can have. */
  userMode(): boolean;
  /** Whether only hardware's part of them was saved. */
  partial(): boolean;
  /** Whether they, or that part, are on the stack. */
  regsReadable(regs: number): boolean;
  /** A register of a pt_regs at `regs`; 0n where that is not on the stack. */
  regsValue(regs: number, offset: number): bigint;
  /** The word at a stack offset as an address; undefined off the stack. */
  wordAt(offset: number): bigint | undefined;
  /** The same as an address of text: its low half, or what is none. */
  textWordAt(offset: number): number;
  /** The offset of an address given by its low half, taken to be a stack address; given in halves. */
  offsetOf(lo: number): number;
  offsetOfAddress(lo: number, hi: number): number;
  /** Notes a failure of who walks. */
  fail(failure: number, ipLo?: number, ipHi?: number): void;
  /** What went wrong, in the kernel's words where it has words; `%s` is the address the walk stood at. */
  failureText(): string;
}

/** What an unwinder is made of. */
export interface UnwindSource {
  readonly arena: StackArena;
  readonly lookup: TextTable;
  /** Low 32 bits of ret_from_fork: where a new task starts, the one address that no call precedes. */
  readonly retFromFork: number;
}

export interface UnwinderPort {
  /** Whether stack_trace_save_tsk_reliable() may go by it: CONFIG_HAVE_RELIABLE_STACKTRACE with this one. */
  readonly reliable: boolean;
  /**
   * Whether it goes by frames that code makes for itself. Interrupted code may not have made its own yet, so a
   * reliable trace does not go through registers of kernel mode; and a function that asks for its own trace is named
   * by its registers alone.
   */
  readonly byFrames: boolean;
  make(source: UnwindSource): Unwinder;
}
