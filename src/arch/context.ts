// Which registers of a context everybody asks for.

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
}
