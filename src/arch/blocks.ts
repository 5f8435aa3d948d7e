// How kernel code is executed while every call and return is watched: block by block, a block ending with the first
// transfer of control. It is also where a port looks at text before its engine meets it.

import type { CpuContext, Engine, Stop } from '../guest/engine.ts';
import type { GuestMemory, MapListener } from '../guest/memory.ts';

/** What the last instruction of a run did to the frames of the stack that it was on. */
export const NO_EFFECT = 0;
export const CALLED = 1;
export const RETURNED = 2;
/** Returned from an interrupt or exception: to what it interrupted, which may be user mode. */
export const INTERRUPT_RETURNED = 3;

/** Told of text that is changed or unmapped. */
export interface KernelBlocks extends MapListener {
  /** One of the constants above, for the run that was last; NO_EFFECT when it ended before its block did. */
  readonly effect: number;
  /** Executes from the PC to the end of a block, or the part of it that fits; `max` is 1 or more. */
  run(context: CpuContext, max: number): Stop;
  /**
   * After a run that CALLED: the stack slot that holds the return address while the callee is live, as the low half of
   * its address. Where a call leaves the address in a register, it is the slot that the callee's prologue saves it to.
   */
  returnSlot(context: CpuContext): number;
  /** After a run that CALLED: the low half of the return address. */
  returnAddress(context: CpuContext): number;
}

export interface Execution {
  blocks(engine: Engine, mem: GuestMemory): KernelBlocks;
  /**
   * For machines that do not watch: looks at text when it becomes executable; what its engine may not meet is found then.
   */
  sweep(engine: Engine, mem: GuestMemory): MapListener;
}
