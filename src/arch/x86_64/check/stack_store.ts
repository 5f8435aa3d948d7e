// Where an instruction that stores to memory by a base register alone would store.
//
// Invariant: an instruction that is not known to store is none; what has an index register is no fixed place.

import { type Insn, NO_INDEX } from '../../../isa/decoder.ts';

/** mov, xchg, and the arithmetic that writes its memory operand. */
const STORES = new Set([0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x81, 0x83, 0x87, 0x89, 0xc7]);
/** The last operation of group 1 compares. */
const CMP = 7;
/** With mode 0 this is no register. */
const NO_BASE = 5;

/**
 * The low half of the address, where `high` is its high half; undefined for what does not store there. `halves`: the
 * general registers in the order of their numbers, two words each.
 */
export function stackStore(insn: Insn, halves: Uint32Array, high: number): number | undefined {
  const { opcode } = insn;
  if (!insn.hasModrm || insn.vex || insn.mod === 3 || insn.segment !== 0 || !STORES.has(opcode))
    return undefined;
  if ((opcode === 0x81 || opcode === 0x83) && (insn.reg & 7) === CMP) return undefined;
  if (insn.hasSib && insn.sibIndex !== NO_INDEX) return undefined;
  const base = insn.hasSib ? insn.sibBase : insn.rm;
  if (insn.mod === 0 && (base & 7) === NO_BASE) return undefined;
  return halves[2 * base + 1] === high ? (halves[2 * base] + insn.disp) >>> 0 : undefined;
}
