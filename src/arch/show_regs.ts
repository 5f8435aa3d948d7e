// Registers as an oops prints them, and its first line. Mirrors __show_regs() and show_iret_regs() of
// arch/*/kernel/process*.c, and die().
//
// Invariant: lines are the kernel's, byte for byte.

import type { Addr } from '../guest/addr.ts';

/** A register of the struct pt_regs that is printed, by its name there. */
export type ReadRegister = (name: string) => bigint;

/** Lines about where the registers stand, for the port to put in their place. */
export interface WhereLines {
  /** A pc: symbol, or the bare address of user mode. */
  pc(addr: Addr, userMode: boolean): string;
  /** show_opcodes(): none or one. */
  code(addr: Addr, userMode: boolean): string[];
}

/** What the CPU holds beside pt_regs. Read when it is printed, and not before. */
export interface SystemState {
  /** Address of this CPU's per-CPU data. */
  readonly percpuBase: Addr;
  /** The last address that faulted. */
  readonly faultAddress: Addr;
  /** Number of the address space; 0 where all is one. */
  readonly space: number;
  /** Whether the CPU keeps kernel and users apart. */
  readonly protection: boolean;
}

export interface ShowRegs {
  /**
   * __die_header(): the first line of an oops. `build`: what the kernel was configured with, as words of that line
   * (PREEMPT, SMP); what the port's own configuration adds to them is the port's.
   */
  dieHeader(what: string, error: number, count: number, build: readonly string[]): string;
  /** All of a struct pt_regs; `partial`: only what hardware saved of it. */
  lines(read: ReadRegister, where: WhereLines, partial: boolean): string[];
  /** What SHOW_REGS_ALL adds. */
  system(read: ReadRegister, state: SystemState): string[];
  /** Where an oops that printed `lines` stood, as they have it; undefined where they do not say. */
  pcIn(lines: string): string | undefined;
}
