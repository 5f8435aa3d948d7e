// Where an instruction that stores to memory by a base register alone would store.
//
// Invariant: an instruction that is not known to store is none; what has an index register is no fixed place.

import {
  BYTE,
  type Insn,
  NO_INDEX,
  STACK,
  STACK_MASK,
  STRING,
  WRITES,
  WRITES_MASK,
} from '../../../isa/decoder.ts';
import { BY_FP, BY_OTHERS, BY_SP, NO_STORE } from '../../checking.ts';
import { REG } from '../context.ts';

/** With mode 0 this is no register. */
const NO_BASE = 5;

/** Whether it writes its memory operand, more than a byte of it. */
function stores({ facts, hasModrm, mod }: Insn): boolean {
  if (!hasModrm || mod === 3 || (facts & BYTE) !== 0) return false;
  const writes = facts & WRITES_MASK;
  return writes === WRITES.RM || writes === WRITES.BOTH;
}

/**
 * The low half of the address, where `high` is its high half; undefined for what does not store there. `halves`: the
 * general registers in the order of their numbers, two words each.
 */
export function stackStore(insn: Insn, halves: Uint32Array, high: number): number | undefined {
  if (insn.segment !== 0 || !stores(insn)) return undefined;
  if (insn.hasSib && insn.sibIndex !== NO_INDEX) return undefined;
  const base = insn.hasSib ? insn.sibBase : insn.rm;
  if (insn.mod === 0 && (base & 7) === NO_BASE) return undefined;
  return halves[2 * base + 1] === high ? (halves[2 * base] + insn.disp) >>> 0 : undefined;
}

/** Whether it may write its operand in memory. */
function writesMemory({ facts }: Insn): boolean {
  const written = facts & WRITES_MASK;
  return written !== WRITES.NONE && written !== WRITES.REG && (facts & STACK_MASK) !== STACK.PUSH;
}

/** See CheckedInsns in src/arch/checking.ts. */
export function storesOn(insn: Insn, halves: Uint32Array, high: number): number {
  if (insn.facts & STRING) return halves[2 * REG.rdi + 1] === high ? BY_OTHERS : NO_STORE;
  if (!insn.hasModrm || insn.mod === 3 || insn.ripRelative || !writesMemory(insn)) return NO_STORE;
  const base = insn.hasSib ? insn.sibBase : insn.rm;
  const hasBase = insn.mod !== 0 || (base & 7) !== NO_BASE;
  const hasIndex = insn.hasSib && insn.sibIndex !== NO_INDEX;
  let low = insn.disp;
  let upper = insn.disp < 0 ? -1 : 0;
  if (low < 0) low += 2 ** 32;
  if (hasBase) {
    low += halves[2 * base];
    upper += halves[2 * base + 1];
  }
  if (hasIndex) {
    const scale = 1 << insn.sibScale;
    low += halves[2 * insn.sibIndex] * scale;
    upper += halves[2 * insn.sibIndex + 1] * scale;
  }
  if ((upper + Math.floor(low / 2 ** 32)) >>> 0 !== high) return NO_STORE;
  if (!hasBase || hasIndex) return BY_OTHERS;
  return base === REG.rsp ? BY_SP : base === REG.rbp ? BY_FP : BY_OTHERS;
}
