// General registers, encoded as vector instructions are: BMI1, BMI2, ADX, MOVBE, CRC32. Intel SDM volume 2, A-4 and A-5.

import { B, BSWAP, D, Q, STORE, W } from '../../core/kinds.ts';
import { T0 } from '../../core/layout.ts';
import * as V from '../../core/vector_kinds.ts';
import type { VectorOperands } from './vector_operands.ts';
import {
  ALONE,
  L0,
  MEMORY,
  NO_VEX,
  NP,
  ONLY_VEX,
  P66,
  PF2,
  PF3,
  type TranslateVector,
  type VectorRow,
} from './vector_rows.ts';

const sizeOf = (v: VectorOperands): number => (v.w ? Q : D);
const VEX = ONLY_VEX | L0;

/** reg <- VEX's register op rm */
const general =
  (kind: number): TranslateVector =>
  (v) => {
    const size = sizeOf(v);
    const c = v.general(size);
    v.writer.op(kind, { a: v.generalReg(size), b: v.otherGeneral, c, imm: BigInt(size) });
  };
/** f3 /1 /2 /3: what VEX names is written. */
const lowestBit: TranslateVector = (v) => {
  const kind = [0, V.BLSR, V.BLSMSK, V.BLSI][v.insn.reg & 7];
  if (!kind) return false;
  const size = sizeOf(v);
  const c = v.general(size);
  v.writer.op(kind, { a: v.otherGeneral, b: c, c, imm: BigInt(size) });
};
const rorx: TranslateVector = (v) => {
  const size = sizeOf(v);
  const c = v.general(size);
  v.writer.op(V.RORX, { a: v.generalReg(size), b: c, c, imm: BigInt(size | ((v.insn.imm & 0xff) << 8)) });
};
const addCarry =
  (kind: number): TranslateVector =>
  (v) => {
    const size = sizeOf(v);
    const c = v.general(size);
    const a = v.generalReg(size);
    v.writer.op(kind, { a, b: a, c, imm: BigInt(size) });
  };

const movbeSize = (v: VectorOperands): number => (v.w ? Q : v.insn.opsize16 ? W : D);
const movbeLoad: TranslateVector = (v) => {
  const size = movbeSize(v);
  v.writer.op(BSWAP + size, { a: v.generalReg(size), b: v.general(size) });
};
const movbeStore: TranslateVector = (v) => {
  const size = movbeSize(v);
  const at = v.memory(1 << size);
  v.writer.op(BSWAP + size, { a: T0, b: v.generalReg(size) });
  v.writer.op(STORE + size, { a: T0, ...at });
};

/** f0: of a byte; f1: by prefix and W. */
const crc32: TranslateVector = (v) => {
  const size = v.opcode === 0xf0 ? B : movbeSize(v);
  const c = v.general(size);
  v.writer.op(V.CRC32, { a: v.generalReg(Q), c, imm: BigInt(size) });
};

export const GENERAL_0F38: readonly VectorRow[] = [
  [NP, 0xf0, movbeLoad, NO_VEX | MEMORY],
  [P66, 0xf0, movbeLoad, NO_VEX | MEMORY],
  [PF2, 0xf0, crc32, NO_VEX],
  [NP, 0xf1, movbeStore, NO_VEX | MEMORY],
  [P66, 0xf1, movbeStore, NO_VEX | MEMORY],
  [PF2, 0xf1, crc32, NO_VEX],
  [NP, 0xf2, general(V.ANDN), VEX],
  [NP, 0xf3, lowestBit, VEX],
  [NP, 0xf5, general(V.BZHI), VEX],
  [PF3, 0xf5, general(V.PEXT), VEX],
  [PF2, 0xf5, general(V.PDEP), VEX],
  [P66, 0xf6, addCarry(V.ADCX), NO_VEX],
  [PF3, 0xf6, addCarry(V.ADOX), NO_VEX],
  [PF2, 0xf6, general(V.MULX), VEX],
  [NP, 0xf7, general(V.BEXTR), VEX],
  [P66, 0xf7, general(V.SHLX), VEX],
  [PF3, 0xf7, general(V.SARX), VEX],
  [PF2, 0xf7, general(V.SHRX), VEX],
];

export const GENERAL_0F3A: readonly VectorRow[] = [[PF2, 0xf0, rorx, VEX | ALONE]];
