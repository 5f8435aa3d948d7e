// Vector integers: arithmetic, logic, comparison, shuffles, shifts, and the cryptography. Intel SDM volume 2, A-3 to A-5.

import { MASKS } from '../../core/layout.ts';
import * as V from '../../core/vector_kinds.ts';
import type { VectorOperands } from './vector_operands.ts';
import {
  ALONE,
  EVEX,
  EVEX_ONLY,
  L0,
  NO_VEX,
  NP,
  ONLY_VEX,
  P66,
  PF2,
  PF3,
  type TranslateVector,
  type VectorRow,
  W0,
  W1,
} from './vector_rows.ts';

/** Beside arithmetic, what is element by element: under a mask only elements that count are read. */
const BY_ELEMENT = new Set<number>([
  ...[V.VPTERNLOG, V.VPSLLVD, V.VPSLLVQ, V.VPSRLVD, V.VPSRLVQ, V.VPSRAVD],
  ...[V.PROLD, V.PROLQ, V.PSLLW, V.PSLLD, V.PSLLQ, V.PSRLW, V.PSRLD, V.PSRLQ, V.PSRAW, V.PSRAD],
]);
const isByElement = (kind: number): boolean => kind < V.INTEGER_END || BY_ELEMENT.has(kind);

/** reg <- first op rm. What is not element by element reads all of its memory, whatever the mask. */
export const packed =
  (kind: number): TranslateVector =>
  (v) => {
    const c = isByElement(kind) ? v.wholeUnderMask() : v.whole;
    v.to(v.reg, kind, { b: v.first, c, imm: v.constant });
  };
/** The same, and EVEX has no mask for it. */
const packedWhole =
  (kind: number): TranslateVector =>
  (v) =>
    v.maskNumber === 0 && !v.broadcasts && packed(kind)(v);
/** reg <- op rm */
const single =
  (kind: number): TranslateVector =>
  (v) => {
    const c = isByElement(kind) ? v.wholeUnderMask() : v.whole;
    v.to(v.reg, kind, { b: c, c, imm: v.constant });
  };
/** By a count that is in the low half of rm, 16 bytes of memory. */
const shift =
  (kind: number): TranslateVector =>
  (v) => {
    const c = v.source(16);
    v.to(v.reg, kind, { b: v.first, c, more: V.COUNT });
  };

/** 71 72 73: by a constant; what is written is named by VEX, or is rm itself. */
const shiftByConstant =
  (kinds: Readonly<Record<number, number>>): TranslateVector =>
  (v) => {
    const kind = kinds[v.insn.reg & 7];
    if (kind === undefined || (v.ofMemory && !v.evex)) return false;
    if (!v.evex && (kind === V.PROLD || kind === V.PROLQ)) return false;
    const b = v.ofMemory ? v.wholeUnderMask() : v.rm;
    v.to(v.vex ? v.other : v.rm, kind, { b, imm: v.constant, byConstant: true });
  };

/** Of whole lanes: EVEX has no mask for them, and says nothing by W. */
const SHIFTS_OF_LANES = shiftByConstant({ 3: V.PSRLDQ, 7: V.PSLLDQ });
const SHIFTS_OF_QUADS = shiftByConstant({ 2: V.PSRLQ, 6: V.PSLLQ });
const shift73: TranslateVector = (v) => {
  if (v.insn.reg & 1) return v.maskNumber === 0 && !v.broadcasts && SHIFTS_OF_LANES(v);
  return (v.w || !v.evex) && SHIFTS_OF_QUADS(v);
};

/** To a mask register, which VEX has no place for. */
const toMask =
  (predicate: number, signed: boolean): TranslateVector =>
  (v) => {
    if (v.zeroes) return false;
    const c = v.wholeUnderMask();
    const imm = BigInt(predicate | (v.element << 8) | (signed ? 0x10000 : 0));
    const under = BigInt(v.maskNumber === 0 ? 0 : v.maskCell) << 32n;
    v.writer.op(V.V_COMPARE, { a: maskReg(v), b: v.first, c, imm: imm | under, disp: v.lanes });
  };
export const maskReg = (v: VectorOperands): number => MASKS + 8 * (v.insn.reg & 7);
/** Comparisons: of EVEX the result is a mask. */
const comparison = (
  pp: number,
  opcode: number,
  kind: number,
  element: number,
  greater: boolean,
): VectorRow[] => [
  [pp, opcode, packed(kind)],
  [pp, opcode, toMask(greater ? 6 : 0, greater), EVEX_ONLY, element],
];

const wide =
  (narrow: number, wider: number): TranslateVector =>
  (v) =>
    packed(v.w ? wider : narrow)(v);

const D_OR_Q = EVEX;

export const INTEGERS_0F: readonly VectorRow[] = [
  [P66, 0x60, packed(V.PUNPCKLBW), EVEX, 1],
  [P66, 0x61, packed(V.PUNPCKLWD), EVEX, 2],
  [P66, 0x62, packed(V.PUNPCKLDQ), EVEX, 4],
  [P66, 0x63, packed(V.PACKSSWB), EVEX, 1],
  ...comparison(P66, 0x64, V.PCMPGTB, 1, true),
  ...comparison(P66, 0x65, V.PCMPGTW, 2, true),
  ...comparison(P66, 0x66, V.PCMPGTD, 4, true),
  [P66, 0x67, packed(V.PACKUSWB), EVEX, 1],
  [P66, 0x68, packed(V.PUNPCKHBW), EVEX, 1],
  [P66, 0x69, packed(V.PUNPCKHWD), EVEX, 2],
  [P66, 0x6a, packed(V.PUNPCKHDQ), EVEX, 4],
  [P66, 0x6b, packed(V.PACKSSDW)],
  [P66, 0x6c, packed(V.PUNPCKLQDQ), EVEX, 8],
  [P66, 0x6d, packed(V.PUNPCKHQDQ), EVEX, 8],
  [P66, 0x70, single(V.PSHUFD), EVEX | ALONE, 4],
  [PF3, 0x70, single(V.PSHUFHW), EVEX | ALONE, 2],
  [PF2, 0x70, single(V.PSHUFLW), EVEX | ALONE, 2],
  [P66, 0x71, shiftByConstant({ 2: V.PSRLW, 4: V.PSRAW, 6: V.PSLLW }), EVEX, 2],
  [P66, 0x72, shiftByConstant({ 1: V.PROLD, 2: V.PSRLD, 4: V.PSRAD, 6: V.PSLLD }), EVEX | W0, 4],
  [P66, 0x72, shiftByConstant({ 2: V.PSRLD, 4: V.PSRAD, 6: V.PSLLD })],
  [P66, 0x72, shiftByConstant({ 1: V.PROLQ }), EVEX_ONLY | W1, 8],
  [P66, 0x73, shift73, EVEX, 0],
  ...comparison(P66, 0x74, V.PCMPEQB, 1, false),
  ...comparison(P66, 0x75, V.PCMPEQW, 2, false),
  ...comparison(P66, 0x76, V.PCMPEQD, 4, false),
  [P66, 0xc6, packed(V.SHUFPD)],
  [NP, 0xc6, packed(V.SHUFPS)],
  [P66, 0xd1, shift(V.PSRLW)],
  [P66, 0xd2, shift(V.PSRLD)],
  [P66, 0xd3, shift(V.PSRLQ)],
  [P66, 0xd4, packed(V.PADDQ), EVEX, 8],
  [P66, 0xd5, packed(V.PMULLW), EVEX, 2],
  [P66, 0xd8, packed(V.PSUBUSB), EVEX, 1],
  [P66, 0xd9, packed(V.PSUBUSW), EVEX, 2],
  [P66, 0xda, packed(V.PMINUB), EVEX, 1],
  [P66, 0xdb, packed(V.PAND), D_OR_Q, 0],
  [P66, 0xdc, packed(V.PADDUSB), EVEX, 1],
  [P66, 0xdd, packed(V.PADDUSW), EVEX, 2],
  [P66, 0xde, packed(V.PMAXUB), EVEX, 1],
  [P66, 0xdf, packed(V.PANDN), D_OR_Q, 0],
  [P66, 0xe0, packed(V.PAVGB), EVEX, 1],
  [P66, 0xe1, shift(V.PSRAW)],
  [P66, 0xe2, shift(V.PSRAD)],
  [P66, 0xe3, packed(V.PAVGW), EVEX, 2],
  [P66, 0xe4, packed(V.PMULHUW), EVEX, 2],
  [P66, 0xe5, packed(V.PMULHW), EVEX, 2],
  [P66, 0xe8, packed(V.PSUBSB), EVEX, 1],
  [P66, 0xe9, packed(V.PSUBSW), EVEX, 2],
  [P66, 0xea, packed(V.PMINSW), EVEX, 2],
  [P66, 0xeb, packed(V.POR), D_OR_Q, 0],
  [P66, 0xec, packed(V.PADDSB), EVEX, 1],
  [P66, 0xed, packed(V.PADDSW), EVEX, 2],
  [P66, 0xee, packed(V.PMAXSW), EVEX, 2],
  [P66, 0xef, packed(V.PXOR), D_OR_Q, 0],
  [P66, 0xf1, shift(V.PSLLW)],
  [P66, 0xf2, shift(V.PSLLD)],
  [P66, 0xf3, shift(V.PSLLQ)],
  [P66, 0xf4, packed(V.PMULUDQ), EVEX, 8],
  [P66, 0xf5, packed(V.PMADDWD)],
  [P66, 0xf6, packed(V.PSADBW)],
  [P66, 0xf8, packed(V.PSUBB), EVEX, 1],
  [P66, 0xf9, packed(V.PSUBW), EVEX, 2],
  [P66, 0xfa, packed(V.PSUBD), EVEX, 4],
  [P66, 0xfb, packed(V.PSUBQ), EVEX, 8],
  [P66, 0xfc, packed(V.PADDB), EVEX, 1],
  [P66, 0xfd, packed(V.PADDW), EVEX, 2],
  [P66, 0xfe, packed(V.PADDD), EVEX, 4],
];

export const INTEGERS_0F38: readonly VectorRow[] = [
  [P66, 0x00, packed(V.PSHUFB), EVEX, 1],
  [P66, 0x01, packed(V.PHADDW)],
  [P66, 0x02, packed(V.PHADDD)],
  [P66, 0x03, packed(V.PHADDSW)],
  [P66, 0x04, packed(V.PMADDUBSW)],
  [P66, 0x05, packed(V.PHSUBW)],
  [P66, 0x06, packed(V.PHSUBD)],
  [P66, 0x07, packed(V.PHSUBSW)],
  [P66, 0x08, packed(V.PSIGNB)],
  [P66, 0x09, packed(V.PSIGNW)],
  [P66, 0x0a, packed(V.PSIGND)],
  [P66, 0x0b, packed(V.PMULHRSW), EVEX, 2],
  [P66, 0x0c, packed(V.VPERMILPS), ONLY_VEX | W0],
  [P66, 0x0d, packed(V.VPERMILPD), ONLY_VEX | W0],
  [P66, 0x1c, single(V.PABSB), EVEX | ALONE, 1],
  [P66, 0x1d, single(V.PABSW), EVEX | ALONE, 2],
  [P66, 0x1e, single(V.PABSD), EVEX | ALONE, 4],
  [P66, 0x28, packed(V.PMULDQ), EVEX, 8],
  [P66, 0x29, packed(V.PCMPEQQ)],
  [P66, 0x29, toMask(0, false), EVEX_ONLY | W1, 8],
  [P66, 0x2b, packed(V.PACKUSDW)],
  [P66, 0x37, packed(V.PCMPGTQ)],
  [P66, 0x37, toMask(6, true), EVEX_ONLY | W1, 8],
  [P66, 0x38, packed(V.PMINSB), EVEX, 1],
  [P66, 0x39, packed(V.PMINSD), EVEX | W0, 4],
  [P66, 0x39, packed(V.PMINSD)],
  [P66, 0x3a, packed(V.PMINUW), EVEX, 2],
  [P66, 0x3b, packed(V.PMINUD), EVEX | W0, 4],
  [P66, 0x3b, packed(V.PMINUD)],
  [P66, 0x3c, packed(V.PMAXSB), EVEX, 1],
  [P66, 0x3d, packed(V.PMAXSD), EVEX | W0, 4],
  [P66, 0x3d, packed(V.PMAXSD)],
  [P66, 0x3e, packed(V.PMAXUW), EVEX, 2],
  [P66, 0x3f, packed(V.PMAXUD), EVEX | W0, 4],
  [P66, 0x3f, packed(V.PMAXUD)],
  [P66, 0x40, packed(V.PMULLD), EVEX | W0, 4],
  [P66, 0x40, packed(V.PMULLD)],
  [P66, 0x41, single(V.PHMINPOSUW), ALONE | L0],
  [P66, 0x45, wide(V.VPSRLVD, V.VPSRLVQ), ONLY_VEX | EVEX, 0],
  [P66, 0x46, packed(V.VPSRAVD), ONLY_VEX | EVEX | W0, 4],
  [P66, 0x47, wide(V.VPSLLVD, V.VPSLLVQ), ONLY_VEX | EVEX, 0],
  [NP, 0xc8, packed(V.SHA1NEXTE), NO_VEX],
  [NP, 0xc9, packed(V.SHA1MSG1), NO_VEX],
  [NP, 0xca, packed(V.SHA1MSG2), NO_VEX],
  [NP, 0xcb, packed(V.SHA256RNDS2), NO_VEX],
  [NP, 0xcc, packed(V.SHA256MSG1), NO_VEX],
  [NP, 0xcd, packed(V.SHA256MSG2), NO_VEX],
  [P66, 0xdb, single(V.AESIMC), ALONE | L0],
  [P66, 0xdc, packedWhole(V.AESENC), EVEX, 1],
  [P66, 0xdd, packedWhole(V.AESENCLAST), EVEX, 1],
  [P66, 0xde, packedWhole(V.AESDEC), EVEX, 1],
  [P66, 0xdf, packedWhole(V.AESDECLAST), EVEX, 1],
];

export const INTEGERS_0F3A: readonly VectorRow[] = [
  [P66, 0x02, packed(V.BLENDPS), ONLY_VEX | W0],
  [P66, 0x0c, packed(V.BLENDPS)],
  [P66, 0x0d, packed(V.BLENDPD)],
  [P66, 0x0e, packed(V.PBLENDW)],
  [P66, 0x0f, packed(V.PALIGNR), EVEX, 1],
  [P66, 0x25, packed(V.VPTERNLOG), EVEX_ONLY, 0],
  [P66, 0x42, packed(V.MPSADBW)],
  [P66, 0x44, packedWhole(V.PCLMULQDQ), EVEX, 1],
  [NP, 0xcc, packed(V.SHA1RNDS4), NO_VEX],
  [P66, 0xdf, single(V.AESKEYGENASSIST), ALONE | L0],
];
