// Where an instruction that stores to memory by a base register alone would store.
//
// Invariant: an instruction that is not known to store is none; what has an index register is no fixed place.

import { BYTE, type Insn, NO_INDEX, WRITES, WRITES_MASK } from '../../../isa/decoder.ts';

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
