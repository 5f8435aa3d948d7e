// Vector numbers with a point: arithmetic, comparison, conversion. Intel SDM volume 2, A-3 to A-5.
//
// Fused multiplications and halves are not there: no module contains any.

import { D, Q } from '../../core/kinds.ts';
import * as V from '../../core/vector_kinds.ts';
import { packed } from './vector_integer_rows.ts';
import type { VectorOperands } from './vector_operands.ts';
import { ALONE, L0, NP, P66, PF2, PF3, type TranslateVector, type VectorRow } from './vector_rows.ts';

const SCALAR = 0x10000n;
const TRUNCATES = 0x80n;

/** Bytes of an element, by the prefix: ss, ps, sd, pd. */
const sizeOf = (v: VectorOperands): number => (v.pp === PF3 || v.pp === NP ? 4 : 8);
const sized = (bytes: number): bigint => BigInt(bytes << 8);

const allElements =
  (kind: number): TranslateVector =>
  (v) => {
    const c = v.whole;
    v.to(v.reg, kind, { b: v.first, c, imm: v.constant | sized(sizeOf(v)) });
  };
const lowElement =
  (kind: number): TranslateVector =>
  (v) => {
    const c = v.source(sizeOf(v));
    v.to(v.reg, kind, { b: v.first, c, imm: v.constant | sized(sizeOf(v)) | SCALAR, lanes: 1 });
  };
/** ps, pd, ss, sd. */
const four = (opcode: number, kind: number, options = 0): VectorRow[] => [
  [NP, opcode, allElements(kind), options],
  [P66, opcode, allElements(kind), options],
  [PF3, opcode, lowElement(kind)],
  [PF2, opcode, lowElement(kind)],
];
/** Of four bytes alone: ps, ss. */
const two = (opcode: number, kind: number): VectorRow[] => [
  [NP, opcode, allElements(kind), ALONE],
  [PF3, opcode, lowElement(kind)],
];
const dotProduct =
  (bytes: number): TranslateVector =>
  (v) => {
    const c = v.whole;
    v.to(v.reg, V.FDP, { b: v.first, c, imm: v.constant | sized(bytes) });
  };
const twoHorizontal = (opcode: number, kind: number): VectorRow[] => [
  [P66, opcode, (v) => v.to(v.reg, kind, { c: v.whole, b: v.first, imm: sized(8) })],
  [PF2, opcode, (v) => v.to(v.reg, kind, { c: v.whole, b: v.first, imm: sized(4) })],
];

/** COMISS, UCOMISD: of the flags. */
const compareFlags =
  (quietly: bigint): TranslateVector =>
  (v) => {
    const bytes = v.pp === NP ? 4 : 8;
    const c = v.source(bytes);
    v.writer.op(V.FCOMI, { b: v.reg, c, imm: sized(bytes) | quietly });
  };

/** CVTSI2SS, CVTSI2SD */
const fromGeneral: TranslateVector = (v) => {
  const size = v.w ? Q : D;
  const c = v.general(size);
  v.to(v.reg, V.F_FROM_INT, { b: v.first, c, imm: sized(sizeOf(v)) | BigInt(1 << size), lanes: 1 });
};
/** CVTSD2SI, CVTTSS2SI */
const toGeneral =
  (truncates: bigint): TranslateVector =>
  (v) => {
    const c = v.source(sizeOf(v));
    const imm = sized(sizeOf(v)) | BigInt(v.w ? 8 : 4) | truncates;
    v.writer.op(V.F_TO_INT, { a: v.generalReg(Q), c, imm });
  };
const resizeLow: TranslateVector = (v) => {
  const c = v.source(sizeOf(v));
  v.to(v.reg, V.F_RESIZE, { b: v.first, c, imm: sized(sizeOf(v)), lanes: 1 });
};
/** CVTPS2PD: from half as many bytes. */
const widen: TranslateVector = (v) => {
  v.to(v.reg, V.F_RESIZES, { c: v.narrow(8 * v.lanes), imm: sized(4) });
};
/** CVTPD2PS: to half as many. */
const narrow: TranslateVector = (v) => {
  const c = v.whole;
  v.to(v.reg, V.F_RESIZES, {
    c,
    imm: sized(8) | (v.lanes === 1 ? SCALAR : 0n),
    lanes: v.lanes === 1 ? 1 : v.lanes / 2,
  });
};
const fromIntegers =
  (bytes: number): TranslateVector =>
  (v) => {
    const c = bytes === 8 ? v.narrow(8 * v.lanes) : v.whole;
    v.to(v.reg, V.F_FROM_INTS, { c, imm: sized(bytes) });
  };
const toIntegers =
  (bytes: number, truncates: bigint): TranslateVector =>
  (v) => {
    const c = v.whole;
    const halves = bytes === 8;
    const imm = sized(bytes) | truncates | (halves && v.lanes === 1 ? SCALAR : 0n);
    v.to(v.reg, V.F_TO_INTS, { c, imm, lanes: halves && v.lanes > 1 ? v.lanes / 2 : v.lanes });
  };

/** CMPPS: eight predicates, of VEX thirty-two. */
const compare =
  (isScalar: boolean): TranslateVector =>
  (v) => {
    const c = isScalar ? v.source(sizeOf(v)) : v.whole;
    const predicate = v.constant & (v.vex ? 31n : 7n);
    const imm = predicate | sized(sizeOf(v)) | (isScalar ? SCALAR : 0n);
    v.to(v.reg, V.FCMP, { b: v.first, c, imm, lanes: isScalar ? 1 : v.lanes });
  };
const round =
  (bytes: number, isScalar: boolean): TranslateVector =>
  (v) => {
    const c = isScalar ? v.source(bytes) : v.whole;
    const imm = v.constant | sized(bytes) | (isScalar ? SCALAR : 0n);
    v.to(v.reg, V.FROUND, { b: isScalar ? v.first : c, c, imm, lanes: isScalar ? 1 : v.lanes });
  };

export const FLOATS_0F: readonly VectorRow[] = [
  [PF3, 0x2a, fromGeneral],
  [PF2, 0x2a, fromGeneral],
  [PF3, 0x2c, toGeneral(TRUNCATES), ALONE],
  [PF2, 0x2c, toGeneral(TRUNCATES), ALONE],
  [PF3, 0x2d, toGeneral(0n), ALONE],
  [PF2, 0x2d, toGeneral(0n), ALONE],
  [NP, 0x2e, compareFlags(1n), ALONE],
  [P66, 0x2e, compareFlags(1n), ALONE],
  [NP, 0x2f, compareFlags(0n), ALONE],
  [P66, 0x2f, compareFlags(0n), ALONE],
  ...four(0x51, V.FSQRT, ALONE),
  ...two(0x52, V.FRSQRT),
  ...two(0x53, V.FRCP),
  [NP, 0x54, packed(V.PAND)],
  [P66, 0x54, packed(V.PAND)],
  [NP, 0x55, packed(V.PANDN)],
  [P66, 0x55, packed(V.PANDN)],
  [NP, 0x56, packed(V.POR)],
  [P66, 0x56, packed(V.POR)],
  [NP, 0x57, packed(V.PXOR)],
  [P66, 0x57, packed(V.PXOR)],
  ...four(0x58, V.FADD),
  ...four(0x59, V.FMUL),
  [NP, 0x5a, widen, ALONE],
  [P66, 0x5a, narrow, ALONE],
  [PF3, 0x5a, resizeLow],
  [PF2, 0x5a, resizeLow],
  [NP, 0x5b, fromIntegers(4), ALONE],
  [P66, 0x5b, toIntegers(4, 0n), ALONE],
  [PF3, 0x5b, toIntegers(4, TRUNCATES), ALONE],
  ...four(0x5c, V.FSUB),
  ...four(0x5d, V.FMIN),
  ...four(0x5e, V.FDIV),
  ...four(0x5f, V.FMAX),
  ...twoHorizontal(0x7c, V.FHADD),
  ...twoHorizontal(0x7d, V.FHSUB),
  [NP, 0xc2, compare(false)],
  [P66, 0xc2, compare(false)],
  [PF3, 0xc2, compare(true)],
  [PF2, 0xc2, compare(true)],
  ...twoHorizontal(0xd0, V.FADDSUB),
  [P66, 0xe6, toIntegers(8, TRUNCATES), ALONE],
  [PF3, 0xe6, fromIntegers(8), ALONE],
  [PF2, 0xe6, toIntegers(8, 0n), ALONE],
];

export const FLOATS_0F3A: readonly VectorRow[] = [
  [P66, 0x08, round(4, false), ALONE],
  [P66, 0x09, round(8, false), ALONE],
  [P66, 0x0a, round(4, true)],
  [P66, 0x0b, round(8, true)],
  [P66, 0x40, dotProduct(4)],
  [P66, 0x41, dotProduct(8), L0],
];
