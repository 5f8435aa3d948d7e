// The frames that are live where execution followed calls into callees of the same object.
//
// Invariant: they are noted when the call is executed, and gone when it returned or its return address is nowhere any more;
// nothing is asked of a table or an unwinder.

import { callerStack, RETURN_WORD } from './caller_stack.ts';
import {
  CALLER_FP_LO,
  CALLER_LO,
  ENTRY_SP,
  STACK_HALF,
  STACK_LO,
  STACK_SIZE,
  TEXT_HALF,
} from './check_layout.ts';
import { findLong } from './stack_words.ts';
import { REGISTERS, SP } from './target.ts';

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

/** The next one up, of code that has dropped its return address: callers have nothing else on the stack. */
const BEYOND: LiveFrame = {
  ...OUTERMOST,
  returnIp: callerStack()[RETURN_WORD + 2],
  sp: OUTERMOST.sp + 8,
};
const ONLY_BEYOND: readonly LiveFrame[] = [BEYOND];

/** Whether there is no outermost frame any more. */
export const isBeyond = (frames: readonly LiveFrame[]): boolean => frames[0] === BEYOND;

/**
 * Whether a return address is in a register, or on the stack from the stack pointer on; or a register has the caller's stack
 * pointer, as where a function realigns its own: it leads back to it.
 */
export function isHeld({ returnIp, sp }: LiveFrame, halves: Uint32Array, words: Uint32Array): boolean {
  for (let i = 0; i < REGISTERS.general; i++) {
    const [low, high] = [halves[2 * i], halves[2 * i + 1]];
    if (low === returnIp >>> 0 && high === TEXT_HALF) return true;
    if (2 * i !== SP && low === sp && high === STACK_HALF) return true;
  }
  return findLong(words, halves[SP], STACK_LO + STACK_SIZE, returnIp, TEXT_HALF) !== undefined;
}

/** What is left without the innermost frame. */
export function withoutInnermost(frames: readonly LiveFrame[]): readonly LiveFrame[] {
  return frames.length === 0 ? ONLY_BEYOND : frames.slice(0, -1);
}

/** Calls followed into each other. */
export const MAX_DEPTH = 6;
