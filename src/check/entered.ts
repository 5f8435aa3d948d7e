// How a function is entered, by the first row of its table: called, as almost all are; with the registers of what was
// interrupted on its stack, or an interrupt's frame alone, an exception's error code above it or not; or as the first that
// runs on a stack.
// Mirrors UNWIND_HINT_REGS, UNWIND_HINT_IRET_REGS and UNWIND_HINT_END_OF_STACK of arch/x86/include/asm/unwind_hints.h.
//
// Invariant: whoever was interrupted is who would have called: the frame that an answer is held against is the same.

import { ptRegsOffset, ptRegsSize } from '../arch/pt_regs.ts';
import {
  ORC_REG_UNDEFINED,
  ORC_TYPE_CALL,
  ORC_TYPE_REGS,
  ORC_TYPE_REGS_PARTIAL,
  type OrcEntry,
} from '../elf/orc.ts';
import { ENTRY_SP, POINTER, STACK_HALF, STACK_LO } from './check_layout.ts';
import { OUTERMOST } from './live_frames.ts';
import { putLong } from './stack_words.ts';
import { FP_FIELD, ORC, REGISTERS, TARGET } from './target.ts';

/** Rows of a function that speak of registers: it is not called as others are, or leaves more on the stack than it found. */
export const saysRegisters = ({ type, spReg }: OrcEntry): boolean =>
  spReg !== ORC_REG_UNDEFINED && type !== ORC_TYPE_CALL;

export interface Entered {
  readonly how: 'called' | 'with registers' | 'with an interrupt frame' | 'first on its stack';
  /** Low half of the stack pointer at the entry. */
  readonly sp: number;
}

export const CALLED: Entered = { how: 'called', sp: ENTRY_SP };

/** As what a return was turned to: it makes room for the return address again. */
const RETURNED_TO: Entered = { how: 'called', sp: ENTRY_SP + 8 };

const PT_REGS = TARGET.ptRegs;
/** Below where a return address would be. */
export const REGS_AT = ENTRY_SP - ptRegsSize(PT_REGS);
const PC_AT = REGS_AT + ptRegsOffset(PT_REGS, PT_REGS.pc);
const SP_AT = REGS_AT + ptRegsOffset(PT_REGS, PT_REGS.sp);
const FP_AT = REGS_AT + ptRegsOffset(PT_REGS, FP_FIELD);
const MODE_AT = REGS_AT + ptRegsOffset(PT_REGS, PT_REGS.mode.word);
const USER_MODE = [1, 2, 3].find((low) => PT_REGS.mode.isUser(low)) ?? 0;
/** Where the stack goes on that entry code switches to, where what it switches from is still to be read. */
export const OTHER_STACK = REGS_AT - 0x400;
/** What entry code may have on its stack above the registers. */
const MOST_WORDS = 64;

/** `row`: in force at a function's first instruction; undefined where there is none. */
export function enteredBy(row: OrcEntry | undefined): Entered {
  if (!row) return CALLED;
  const { spReg, spOffset, type, end } = row;
  if (spReg === ORC_REG_UNDEFINED) return end ? { how: 'first on its stack', sp: REGS_AT } : RETURNED_TO;
  if (spReg !== ORC.sp || spOffset < 0 || spOffset > 8 * MOST_WORDS || spOffset % 8 !== 0) return CALLED;
  if (type === ORC_TYPE_REGS) return { how: 'with registers', sp: REGS_AT - spOffset };
  if (type === ORC_TYPE_REGS_PARTIAL) return { how: 'with an interrupt frame', sp: PC_AT - spOffset };
  return CALLED;
}

/** Whether they are a user's: nobody of the kernel was interrupted. */
export function areUsers(words: Uint32Array): boolean {
  return PT_REGS.mode.isUser(words[(MODE_AT - STACK_LO) >>> 2]);
}

/** Entry code switches stacks where it comes from a user. */
export function makeUsers(words: Uint32Array): void {
  putLong(words, MODE_AT, USER_MODE, 0);
}

/** The registers of who was interrupted: of the kernel, or a user's where nobody of the kernel was. */
export function putRegisters(words: Uint32Array, { how }: Entered): void {
  const isUser = how === 'first on its stack';
  const pointer = Number(BigInt.asUintN(32, POINTER));
  for (let at = REGS_AT; at < ENTRY_SP; at += 8) putLong(words, at, pointer, Number(POINTER >> 32n));
  putLong(words, MODE_AT, isUser ? USER_MODE : REGISTERS.kernelMode, 0);
  if (isUser) return;
  putLong(words, PC_AT, OUTERMOST.returnIp, 0xffffffff);
  putLong(words, SP_AT, OUTERMOST.sp, STACK_HALF);
  putLong(words, FP_AT, OUTERMOST.fpLow, OUTERMOST.fpHigh);
}
