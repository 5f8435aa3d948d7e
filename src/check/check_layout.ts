// Where things lie in the machines that a check runs code in: text, data, callers, the stack.

import { SP } from './target.ts';

export const TEXT_BASE = 0xffffffffc0001000n;
export const TEXT_LO = 0xc0001000;
/** What relocations of text point to. */
export const DATA_BASE = 0xffffffffc5df0000n;
export const DATA_SIZE = 0x20000;
export const DATA_MIDDLE = DATA_BASE + BigInt(DATA_SIZE / 2);
/** Text of the callers: never executed, only looked up. */
export const CALLER_LO = 0x81000000;
export const CALLER_SIZE = 0x1000;
export const LAST_CALLER_LO = CALLER_LO + 0x800;
/** Of the last frame that a task can have, as the frame pointer unwinder knows it. */
export const CALLER_FP_LO = 0x7f48;

/** Stack of slot 0. */
export const STACK_LO = 0x4000;
export const STACK_HALF = 0xffffc900;
/** Low half of rsp at a function's entry: the return address lies there. */
export const ENTRY_SP = 0x7e00;
/** Stack that a function may use; deeper is left unmapped by a check of rsp. */
export const DEEPEST_SP = 0x4200;

/** `halves`: of the registers, low halves first. */
export function isOnStack(halves: Uint32Array): boolean {
  return halves[SP + 1] === STACK_HALF && halves[SP] >= DEEPEST_SP && halves[SP] <= ENTRY_SP + 8;
}

export const HEAP = 0xffff888000000000n;
/** Its low half is an address of user memory, so that a pointer cut to 32 bits can be read too. */
export const POINTER = HEAP + 0x600000n;
