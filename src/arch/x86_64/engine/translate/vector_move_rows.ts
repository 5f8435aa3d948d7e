// Vector registers moved, to and from memory, general registers and each other. Intel SDM volume 2, A-3 to A-5.

import { REX_W } from '../../../../isa/decoder.ts';
import { B, D, LOAD, MOV, MOVZX8, MOVZX16, NOP, Q, STORE, W } from '../../core/kinds.ts';
import { MASKS, T0, T1, ZMM } from '../../core/layout.ts';
import * as V from '../../core/vector_kinds.ts';
import { maskReg, packed } from './vector_integer_rows.ts';
import type { VectorOperands } from './vector_operands.ts';
import {
  ALONE,
  EVEX,
  EVEX_ONLY,
  L0,
  L1,
  MEMORY,
  NO_VEX,
  NP,
  ONLY_VEX,
  P66,
  PF2,
  PF3,
  REGISTER,
  type TranslateVector,
  type VectorRow,
  W0,
  W1,
} from './vector_rows.ts';

/** reg <- rm */
const load =
  (isAligned: boolean): TranslateVector =>
  (v) => {
    v.to(v.reg, V.V_MOV, { c: v.wholeUnderMask(isAligned) });
  };
/** rm <- reg */
const store =
  (isAligned: boolean): TranslateVector =>
  (v) => {
    if (!v.ofMemory) return v.to(v.rm, V.V_MOV, { c: v.reg });
    if (v.zeroes) return false;
    const bytes = 16 * v.lanes;
    const at = v.memory(bytes);
    if (v.maskNumber !== 0) {
      const imm = BigInt(v.element | (bytes << 8) | (isAligned ? V.MASKED_ALIGNED : 0));
      v.writer.op(V.V_STORE_MASKED, { a: v.reg, c: v.maskCell, ...at, imm });
    } else v.writer.op(V.V_STORE, { a: v.reg, ...at, imm: BigInt(bytes | (isAligned ? V.ALIGNED : 0)) });
  };
/** From memory; zeros above. */
const loadLow =
  (bytes: number): TranslateVector =>
  (v) => {
    if (v.vex && !v.namesNoOther) return false;
    v.to(v.reg, V.V_MOVZ, { c: v.source(bytes), imm: BigInt(bytes), lanes: 1 });
  };
/** MOVSS, MOVSD between registers: the rest is the first source's. */
const mergeLow =
  (bytes: number, toRm: boolean): TranslateVector =>
  (v) => {
    const to = toRm ? v.rm : v.reg;
    v.to(to, V.V_MOV_LOW, { b: v.vex ? v.other : to, c: toRm ? v.reg : v.rm, imm: BigInt(bytes), lanes: 1 });
  };
/** From memory: the low half, the rest being the first source's. */
const loadLowHalf: TranslateVector = (v) => {
  v.to(v.reg, V.V_MOV_LOW, { c: v.source(8), b: v.first, imm: 8n, lanes: 1 });
};
const loadHighHalf: TranslateVector = (v) => {
  v.to(v.reg, V.PUNPCKLQDQ, { c: v.source(8), b: v.first, lanes: 1 });
};
/** MOVHLPS, MOVLHPS */
const highToLow: TranslateVector = (v) => v.to(v.reg, V.PUNPCKHQDQ, { b: v.rm, c: v.first, lanes: 1 });
const lowToHigh: TranslateVector = (v) => v.to(v.reg, V.PUNPCKLQDQ, { b: v.first, c: v.rm, lanes: 1 });
/** Memory <- so many bytes of reg, from `offset` on. */
const storePart =
  (size: number, offset: number): TranslateVector =>
  (v) => {
    if (v.vex && !v.namesNoOther) return false;
    v.writer.op(STORE + size, { a: v.reg + offset, ...v.memory(1 << size) });
  };

/** MOVD, MOVQ from and to general registers and memory. */
const fromGeneral: TranslateVector = (v) => {
  const size = v.w ? Q : D;
  v.to(v.reg, V.V_MOVZ, { c: v.general(size), imm: BigInt(1 << size), lanes: 1 });
};
const toGeneral: TranslateVector = (v) => v.toGeneral(v.reg, v.w ? Q : D);
/** d6: MOVQ to memory or a register. */
const storeQuad: TranslateVector = (v) => {
  if (v.ofMemory) return storePart(Q, 0)(v);
  v.to(v.rm, V.V_MOVZ, { c: v.reg, imm: 8n, lanes: 1 });
};

const sizeOfW = (v: VectorOperands): number => (v.w ? Q : D);
/** PINSRB, PINSRW, PINSRD, PINSRQ */
const insert =
  (sizeOf: (v: VectorOperands) => number): TranslateVector =>
  (v) => {
    const size = sizeOf(v);
    const offset = (v.insn.imm & ((16 >> size) - 1)) << size;
    const c = v.ofMemory ? v.general(size) : v.general(Math.max(size, D));
    v.to(v.reg, V.V_INSERT, { b: v.first, c, imm: BigInt((1 << size) | (offset << 8)), lanes: 1 });
  };
/** PEXTRB, PEXTRW, PEXTRD, PEXTRQ to rm, with zeros above. */
const extract =
  (sizeOf: (v: VectorOperands) => number): TranslateVector =>
  (v) => {
    const size = sizeOf(v);
    const cell = v.reg + ((v.insn.imm & ((16 >> size) - 1)) << size);
    if (v.ofMemory || size >= D) return v.toGeneral(cell, size);
    v.writer.op((size === B ? MOVZX8 : MOVZX16) + D, { a: v.generalRm, b: cell });
  };
/** c5: PEXTRW to reg. */
const extractWord: TranslateVector = (v) =>
  v.writer.op(MOVZX16 + D, { a: v.generalReg(D), b: v.rm + ((v.insn.imm & 7) << 1) });

const mask =
  (bytes: number): TranslateVector =>
  (v) =>
    v.writer.op(V.V_MASK, { a: v.generalReg(Q), c: v.rm, imm: BigInt(bytes), disp: v.lanes });
const test: TranslateVector = (v) => {
  const c = v.whole;
  v.writer.op(V.V_TEST, { b: v.reg, c, disp: v.lanes });
};

/** PMOVSX, PMOVZX: from so many bytes to so many. */
const extend =
  (from: number, to: number, isSigned: boolean): TranslateVector =>
  (v) => {
    if (v.vex && !v.namesNoOther) return false;
    const bytes = (16 * v.lanes * from) / to;
    const c = v.ofMemory && v.maskNumber !== 0 ? v.underMask(bytes, from) : v.narrow(bytes);
    v.element = to;
    v.to(v.reg, V.V_EXTEND, { c, imm: BigInt(from | (to << 8) | (isSigned ? 0x10000 : 0)) });
  };
const EXTENSIONS: readonly (readonly [number, number])[] = [
  [1, 2],
  [1, 4],
  [1, 8],
  [2, 4],
  [2, 8],
  [4, 8],
];
const extensions = EXTENSIONS.flatMap(([from, to], i): VectorRow[] => [
  [P66, 0x20 + i, extend(from, to, true), EVEX, 1],
  [P66, 0x30 + i, extend(from, to, false), EVEX, 1],
]);

/** PBLENDVB and its like: by xmm0, or by the register in the constant's upper half. */
const blendv =
  (bytes: number, byConstant: boolean): TranslateVector =>
  (v) => {
    const c = v.whole;
    const chooser = byConstant ? ZMM + 64 * ((v.insn.imm >> 4) & 15) : ZMM;
    v.to(v.reg, V.V_BLENDV, { b: v.first, c, imm: (BigInt(chooser) << 32n) | BigInt(bytes) });
  };

/** VBROADCASTx, VPBROADCASTx: of so many bytes. */
const broadcast =
  (bytes: number): TranslateVector =>
  (v) => {
    v.to(v.reg, V.V_BROADCAST, { c: v.broadcastSource(bytes), imm: BigInt(bytes) });
  };
/** VPBROADCASTB and its like, from a general register. */
const broadcastGeneral: TranslateVector = (v) => {
  v.to(v.reg, V.V_BROADCAST, { c: v.generalRm, imm: BigInt(v.element) });
};
/** VINSERTF128, VINSERTI128, and of EVEX more of them. */
const insertLanes =
  (bytes: number): TranslateVector =>
  (v) => {
    const c = v.source(bytes, false);
    const place = v.insn.imm & ((16 * v.lanes) / bytes - 1);
    v.to(v.reg, V.V_INSERT, { b: v.first, c, imm: BigInt(bytes | ((place * bytes) << 8)) });
  };
const extractLanes =
  (bytes: number): TranslateVector =>
  (v) => {
    const place = v.insn.imm & ((16 * v.lanes) / bytes - 1);
    const from = v.reg + place * bytes;
    if (!v.ofMemory) return v.to(v.rm, V.V_MOV, { c: from, lanes: bytes / 16 });
    if (v.zeroes) return false;
    const at = v.memory(bytes);
    if (v.maskNumber === 0) v.writer.op(V.V_STORE, { a: from, ...at, imm: BigInt(bytes) });
    else
      v.writer.op(V.V_STORE_MASKED, {
        a: from,
        c: v.maskCell,
        ...at,
        imm: v.element | (bytes << 8) | V.MASKED_WHOLE,
      });
  };
const perm128: TranslateVector = (v) => {
  const c = v.whole;
  v.to(v.reg, V.V_PERM128, { b: v.first, c, imm: v.constant });
};
/** VSHUFI32X4, VSHUFF64X2 and the others between: whole lanes. */
const shuffleLanes: TranslateVector = (v) => {
  if (v.lanes === 1) return false;
  const c = v.whole;
  v.to(v.reg, V.V_PERM128, { b: v.first, c, imm: v.constant | 0x100n });
};
const permq: TranslateVector = (v) => {
  const c = v.whole;
  v.to(v.reg, V.V_PERMQ, { c, imm: v.constant });
};
const permd: TranslateVector = (v) => {
  const c = v.whole;
  v.to(v.reg, V.V_PERMD, { b: v.first, c, imm: BigInt(v.element) });
};
const permilByConstant =
  (kind: number): TranslateVector =>
  (v) => {
    const c = v.whole;
    v.to(v.reg, kind, { b: c, c, imm: v.constant });
  };

/** f7: MASKMOVDQU: bytes of reg to where rdi points, as far as those of rm have their sign set. */
const maskMove: TranslateVector = (v) => {
  v.writer.op(V.V_TO_MASK, { a: T1, c: v.rm, imm: 1, disp: 1 });
  const at = v.destinationOfString;
  v.writer.op(V.V_STORE_MASKED, { a: v.reg, c: T1, ...at, imm: 1 | (16 << 8) });
};
/** 60 to 63: strings. */
const string =
  (kind: number): TranslateVector =>
  (v) => {
    const c = v.source(16, false);
    const imm = v.constant | (v.w ? 0x100n : 0n);
    v.writer.op(kind, { b: v.reg, c, imm, disp: v.vex ? V.CLEAR : 0 });
  };

/** 77: VZEROUPPER, VZEROALL. */
const zeroUpper: TranslateVector = (v) => {
  if (!v.namesNoOther || v.evex) return false;
  v.writer.op(V.V_ZERO_UPPER, { imm: v.lanes === 2 ? 1n : 0n });
};

/** VLDMXCSR, VSTMXCSR. The legacy ones are fpu_state.ts's. */
const mxcsr: TranslateVector = (v) => {
  const ext = v.insn.reg & 7;
  if (ext === 2) v.writer.op(V.V_LDMXCSR, { c: v.general(D) });
  else if (ext === 3) {
    const at = v.memory(4);
    v.writer.op(V.V_STMXCSR, { a: T0 });
    v.writer.op(STORE + D, { a: T0, ...at });
  } else return false;
};

/** KMOVB, KMOVW, KMOVD, KMOVQ: by prefix and W. */
const maskSize = (v: VectorOperands): number => {
  if (v.opcode >= 0x92) return v.pp === NP ? W : v.pp === P66 ? B : v.w ? Q : D;
  return v.pp === NP ? (v.w ? Q : W) : v.w ? D : B;
};
const ZERO_EXTENDING = [MOVZX8 + Q, MOVZX16 + Q, MOV + D, MOV + Q];
const maskOfRm = (v: VectorOperands): number => MASKS + 8 * (v.insn.rm & 7);
const loadMask: TranslateVector = (v) => {
  const size = maskSize(v);
  let b = maskOfRm(v);
  if (v.ofMemory) {
    v.writer.op(LOAD + size, { a: T0, ...v.memory(1 << size) });
    b = T0;
  }
  v.writer.op(ZERO_EXTENDING[size], { a: maskReg(v), b });
};
const storeMask: TranslateVector = (v) => {
  const size = maskSize(v);
  v.writer.op(STORE + size, { a: maskReg(v), ...v.memory(1 << size) });
};
const maskFromGeneral: TranslateVector = (v) =>
  v.writer.op(ZERO_EXTENDING[maskSize(v)], { a: maskReg(v), b: v.general(Q) });
const maskToGeneral: TranslateVector = (v) => {
  if (v.insn.rex & REX_W && v.pp !== PF2) return false;
  v.writer.op(ZERO_EXTENDING[maskSize(v)], { a: v.generalReg(Q), b: maskOfRm(v) });
};
const fromMask: TranslateVector = (v) =>
  v.to(v.reg, V.V_FROM_MASK, { c: maskOfRm(v), imm: BigInt(v.element) });
const toMask: TranslateVector = (v) =>
  v.writer.op(V.V_TO_MASK, { a: maskReg(v), c: v.rm, imm: BigInt(v.element), disp: v.lanes });
const maskRows = (opcode: number, translate: TranslateVector, options: number): VectorRow[] =>
  [NP, P66].map((pp): VectorRow => [pp, opcode, translate, ONLY_VEX | L0 | ALONE | options]);

/** Of both: packed single and packed double. */
const both = (opcode: number, translate: TranslateVector, options = 0): VectorRow[] => [
  [NP, opcode, translate, options | EVEX, 4],
  [P66, opcode, translate, options | EVEX, 8],
];

export const MOVES_0F: readonly VectorRow[] = [
  ...both(0x10, load(false), ALONE),
  [PF3, 0x10, loadLow(4), MEMORY],
  [PF2, 0x10, loadLow(8), MEMORY],
  [PF3, 0x10, mergeLow(4, false), REGISTER],
  [PF2, 0x10, mergeLow(8, false), REGISTER],
  ...both(0x11, store(false), ALONE),
  [PF3, 0x11, storePart(D, 0), MEMORY],
  [PF2, 0x11, storePart(Q, 0), MEMORY],
  [PF3, 0x11, mergeLow(4, true), REGISTER],
  [PF2, 0x11, mergeLow(8, true), REGISTER],
  [NP, 0x12, loadLowHalf, MEMORY | L0],
  [P66, 0x12, loadLowHalf, MEMORY | L0],
  [NP, 0x12, highToLow, REGISTER | L0],
  [PF3, 0x12, permilByConstant(V.MOVSLDUP), ALONE],
  [PF2, 0x12, (v) => v.to(v.reg, V.MOVDDUP, { c: v.lanes === 1 ? v.source(8) : v.whole }), ALONE],
  [NP, 0x13, storePart(Q, 0), MEMORY | L0],
  [P66, 0x13, storePart(Q, 0), MEMORY | L0],
  [NP, 0x14, packed(V.PUNPCKLDQ)],
  [P66, 0x14, packed(V.PUNPCKLQDQ)],
  [NP, 0x15, packed(V.PUNPCKHDQ)],
  [P66, 0x15, packed(V.PUNPCKHQDQ)],
  [NP, 0x16, loadHighHalf, MEMORY | L0],
  [P66, 0x16, loadHighHalf, MEMORY | L0],
  [NP, 0x16, lowToHigh, REGISTER | L0],
  [PF3, 0x16, permilByConstant(V.MOVSHDUP), ALONE],
  [NP, 0x17, storePart(Q, 8), MEMORY | L0],
  [P66, 0x17, storePart(Q, 8), MEMORY | L0],
  ...both(0x28, load(true), ALONE),
  ...both(0x29, store(true), ALONE),
  ...both(0x2b, store(true), ALONE | MEMORY),
  [NP, 0x50, mask(4), REGISTER | ALONE],
  [P66, 0x50, mask(8), REGISTER | ALONE],
  [P66, 0x6e, fromGeneral, L0 | ALONE],
  [P66, 0x6f, load(true), ALONE],
  [P66, 0x6f, load(true), ALONE | EVEX_ONLY, 0],
  [PF3, 0x6f, load(false), ALONE],
  [PF3, 0x6f, load(false), ALONE | EVEX_ONLY, 0],
  [PF2, 0x6f, load(false), ALONE | EVEX_ONLY | W0, 1],
  [PF2, 0x6f, load(false), ALONE | EVEX_ONLY | W1, 2],
  [NP, 0x77, zeroUpper, ONLY_VEX],
  // EMMS has no register to empty.
  [NP, 0x77, (v) => v.writer.op(NOP), NO_VEX],
  [P66, 0x7e, toGeneral, L0 | ALONE],
  [PF3, 0x7e, (v) => v.to(v.reg, V.V_MOVZ, { c: v.source(8), imm: 8n, lanes: 1 }), L0 | ALONE],
  [P66, 0x7f, store(true), ALONE],
  [P66, 0x7f, store(true), ALONE | EVEX_ONLY, 0],
  [PF3, 0x7f, store(false), ALONE],
  [PF3, 0x7f, store(false), ALONE | EVEX_ONLY, 0],
  [PF2, 0x7f, store(false), ALONE | EVEX_ONLY | W0, 1],
  [PF2, 0x7f, store(false), ALONE | EVEX_ONLY | W1, 2],
  ...maskRows(0x90, loadMask, 0),
  ...maskRows(0x91, storeMask, MEMORY),
  ...maskRows(0x92, maskFromGeneral, REGISTER | W0),
  [PF2, 0x92, maskFromGeneral, ONLY_VEX | L0 | ALONE | REGISTER],
  ...maskRows(0x93, maskToGeneral, REGISTER | W0),
  [PF2, 0x93, maskToGeneral, ONLY_VEX | L0 | ALONE | REGISTER],
  [NP, 0xae, mxcsr, ONLY_VEX | MEMORY | L0 | ALONE],
  [P66, 0xc4, insert(() => W), L0],
  [P66, 0xc5, extractWord, L0 | REGISTER | ALONE],
  [P66, 0xd6, storeQuad, L0 | ALONE],
  [P66, 0xd7, mask(1), REGISTER | ALONE],
  [P66, 0xe7, store(true), MEMORY | ALONE | EVEX, 4],
  [PF2, 0xf0, load(false), MEMORY | ALONE],
  [P66, 0xf7, maskMove, REGISTER | ALONE | L0],
];

export const MOVES_0F38: readonly VectorRow[] = [
  [P66, 0x10, blendv(1, false)],
  [P66, 0x14, blendv(4, false)],
  [P66, 0x15, blendv(8, false)],
  [P66, 0x16, permd, ONLY_VEX | L1 | W0, 4],
  [P66, 0x17, test, ALONE],
  [P66, 0x18, broadcast(4), ONLY_VEX | ALONE | W0 | EVEX, 4],
  [P66, 0x19, broadcast(8), ONLY_VEX | ALONE | W0 | L1],
  [P66, 0x19, broadcast(8), EVEX_ONLY | ALONE | W1, 8],
  [P66, 0x1a, broadcast(16), ONLY_VEX | ALONE | W0 | L1 | MEMORY],
  [P66, 0x1a, broadcast(16), EVEX_ONLY | ALONE | MEMORY, 0],
  ...extensions,
  [PF3, 0x28, fromMask, EVEX_ONLY | REGISTER | ALONE | W0, 1],
  [PF3, 0x28, fromMask, EVEX_ONLY | REGISTER | ALONE | W1, 2],
  [PF3, 0x29, toMask, EVEX_ONLY | REGISTER | ALONE | W0, 1],
  [PF3, 0x29, toMask, EVEX_ONLY | REGISTER | ALONE | W1, 2],
  [P66, 0x2a, load(true), MEMORY | ALONE | EVEX, 4],
  [P66, 0x36, permd, ONLY_VEX | L1 | W0, 4],
  [P66, 0x36, permd, EVEX_ONLY, 0],
  [PF3, 0x38, fromMask, EVEX_ONLY | REGISTER | ALONE, 0],
  [PF3, 0x39, toMask, EVEX_ONLY | REGISTER | ALONE, 0],
  [P66, 0x58, broadcast(4), ONLY_VEX | ALONE | W0 | EVEX, 4],
  [P66, 0x59, broadcast(8), ONLY_VEX | ALONE | W0],
  [P66, 0x59, broadcast(8), EVEX_ONLY | ALONE | W1, 8],
  [P66, 0x5a, broadcast(16), ONLY_VEX | ALONE | W0 | L1 | MEMORY],
  [P66, 0x5a, broadcast(16), EVEX_ONLY | ALONE | MEMORY, 0],
  [P66, 0x78, broadcast(1), ONLY_VEX | ALONE | W0 | EVEX, 1],
  [P66, 0x79, broadcast(2), ONLY_VEX | ALONE | W0 | EVEX, 2],
  [P66, 0x7a, broadcastGeneral, EVEX_ONLY | REGISTER | ALONE | W0, 1],
  [P66, 0x7b, broadcastGeneral, EVEX_ONLY | REGISTER | ALONE | W0, 2],
  [P66, 0x7c, broadcastGeneral, EVEX_ONLY | REGISTER | ALONE, 0],
];

export const MOVES_0F3A: readonly VectorRow[] = [
  [P66, 0x00, permq, ONLY_VEX | L1 | W1 | ALONE],
  [P66, 0x00, permq, EVEX_ONLY | W1 | ALONE, 8],
  [P66, 0x01, permq, ONLY_VEX | L1 | W1 | ALONE],
  [P66, 0x04, permilByConstant(V.PSHUFD), ONLY_VEX | W0 | ALONE],
  [P66, 0x05, permilByConstant(V.SHUFPD), ONLY_VEX | W0 | ALONE],
  [P66, 0x06, perm128, ONLY_VEX | L1 | W0],
  [P66, 0x14, extract(() => B), L0 | ALONE],
  [P66, 0x15, extract(() => W), L0 | ALONE],
  [P66, 0x16, extract(sizeOfW), L0 | ALONE],
  [P66, 0x17, extract(() => D), L0 | ALONE],
  [P66, 0x18, insertLanes(16), ONLY_VEX | L1 | W0],
  [P66, 0x19, extractLanes(16), ONLY_VEX | L1 | W0 | ALONE],
  [P66, 0x20, insert(() => B), L0],
  [
    P66,
    0x21,
    // In memory it is one dword, whatever the constant says of which.
    (v) => {
      const c = v.source(4);
      const constant = v.ofMemory ? v.constant & 0x3fn : v.constant;
      v.to(v.reg, V.INSERTPS, { b: v.first, c, imm: constant });
    },
    L0,
  ],
  [P66, 0x22, insert(sizeOfW), L0],
  [P66, 0x23, shuffleLanes, EVEX_ONLY, 0],
  [P66, 0x38, insertLanes(16), ONLY_VEX | L1 | W0],
  [P66, 0x38, insertLanes(16), EVEX_ONLY, 0],
  [P66, 0x39, extractLanes(16), ONLY_VEX | L1 | W0 | ALONE],
  [P66, 0x39, extractLanes(16), EVEX_ONLY | ALONE, 0],
  [P66, 0x3a, insertLanes(32), EVEX_ONLY, 0],
  [P66, 0x3b, extractLanes(32), EVEX_ONLY | ALONE, 0],
  [P66, 0x43, shuffleLanes, EVEX_ONLY, 0],
  [P66, 0x46, perm128, ONLY_VEX | L1 | W0],
  [P66, 0x4a, blendv(4, true), ONLY_VEX | W0],
  [P66, 0x4b, blendv(8, true), ONLY_VEX | W0],
  [P66, 0x4c, blendv(1, true), ONLY_VEX | W0],
  [P66, 0x60, string(V.PCMPESTRM), ALONE | L0],
  [P66, 0x61, string(V.PCMPESTRI), ALONE | L0],
  [P66, 0x62, string(V.PCMPISTRM), ALONE | L0],
  [P66, 0x63, string(V.PCMPISTRI), ALONE | L0],
];
