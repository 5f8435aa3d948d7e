// The tables of vector instructions, and of general ones that are encoded as they are: by map, prefix and opcode.

import type { VectorOperands } from './vector_operands.ts';

/** Writes a vector instruction's operations. @returns false when there is no such instruction */
export type TranslateVector = (v: VectorOperands) => boolean | void;

/** What may encode an instruction, and how; without any of these: SSE and VEX of any length. */
export const NO_VEX = 1;
export const ONLY_VEX = 2;
/** VEX.L is 0: 128 bits; or it is 1. */
export const L0 = 4;
export const L1 = 8;
export const W0 = 16;
export const W1 = 32;
/** EVEX has it, too; with the bytes of an element, or those that W says. */
export const EVEX = 64;
export const EVEX_ONLY = 128;
/** VEX names no second source. */
export const ALONE = 256;
/** A register, or memory, is its only operand. */
export const REGISTER = 512;
export const MEMORY = 1024;

// Prefixes.
export const NP = 0;
export const P66 = 1;
export const PF3 = 2;
export const PF2 = 3;

/** A vector instruction: prefix, opcode, what writes it, what may encode it, bytes of an element (0: by W). */
export type VectorRow = readonly [
  pp: number,
  opcode: number,
  translate: TranslateVector,
  options?: number,
  element?: number,
];

export class VectorTables {
  /** By map and prefix. */
  readonly #tables: (VectorRow[] | undefined)[][] = Array.from({ length: 16 }, () => new Array(256));

  add(map: number, rows: readonly VectorRow[]): this {
    for (const row of rows) {
      const table = this.#tables[(map << 2) | row[0]];
      const all = table[row[1]] ?? [];
      table[row[1]] = [...all, row];
    }
    return this;
  }

  /** @returns false when there is no such instruction */
  translate(v: VectorOperands): boolean {
    const rows = v.map > 3 ? undefined : this.#tables[(v.map << 2) | v.pp]?.[v.opcode];
    for (const row of rows ?? []) {
      const [, , translate, options = 0, element = 4] = row;
      if (!fits(v, options)) continue;
      v.element = element === 0 ? (v.w ? 8 : 4) : element;
      if (v.evex && !evexFits(v)) return false;
      return translate(v) !== false;
    }
    return false;
  }
}

function fits(v: VectorOperands, options: number): boolean {
  if (options & (v.ofMemory ? REGISTER : MEMORY)) return false;
  if (!v.vex) return (options & (ONLY_VEX | EVEX_ONLY)) === 0;
  if (v.evex ? (options & (EVEX | EVEX_ONLY)) === 0 : (options & (NO_VEX | EVEX_ONLY)) !== 0) return false;
  if (options & (v.w ? W0 : W1) || (options & ALONE && !v.namesNoOther)) return false;
  return v.evex || (((options & L0) === 0 || v.lanes === 1) && ((options & L1) === 0 || v.lanes === 2));
}

/** W is of the elements; a broadcast is of memory, in elements of 4 or 8 bytes; zeros are where a mask is. */
function evexFits(v: VectorOperands): boolean {
  if (v.element === (v.w ? 4 : 8)) return false;
  if (v.broadcasts && (!v.ofMemory || v.element < 4)) return false;
  return !v.zeroes || v.maskNumber !== 0;
}
