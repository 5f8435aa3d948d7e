// Which registers of a context everybody asks for, and all of them as the kernel knows them.

import type { CpuContext } from '../guest/engine.ts';

/** Indices into CpuContext.regs; where one is read often, the index is taken once. */
export interface ContextRegisters {
  /** Address of the next instruction. */
  readonly pc: number;
  /** The stack pointer: stacks grow down. */
  readonly sp: number;
  /** What a function returns. */
  readonly result: number;
  /** Arguments that are passed in registers, in order. */
  readonly args: readonly number[];
  /**
   * What struct pt_regs would hold if the context were interrupted where it is: two words a register, low word first.
   * @param into all of it is written
   */
  save(context: CpuContext, into: Uint32Array): void;
}
