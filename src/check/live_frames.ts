// The frames that are live where execution followed calls into callees of the same object.
//
// Invariant: they are noted when the call is executed; nothing is asked of a table or an unwinder.

import { CALLER_FP_LO, CALLER_LO, ENTRY_SP, STACK_HALF } from './check_layout.ts';

export interface LiveFrame {
  /** Low half of the address that the callee returns to. */
  readonly returnIp: number;
  /** Low half of the stack pointer after the return. */
  readonly sp: number;
  /** rbp of the function that called. */
  readonly fpLow: number;
  readonly fpHigh: number;
  /** The instruction returned to; 0 where none is known. */
  readonly next: number;
  /** The callee. */
  readonly func: number;
}

/** The one that every function under check has: that of its caller, which is no code of the object. */
export const OUTERMOST: LiveFrame = {
  returnIp: CALLER_LO + 0x200,
  sp: ENTRY_SP + 8,
  fpLow: CALLER_FP_LO,
  fpHigh: STACK_HALF,
  next: 0,
  func: 0,
};

/** Calls followed into each other. */
export const MAX_DEPTH = 6;
