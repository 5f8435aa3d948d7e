// Vector integers: addition, subtraction, logic, comparison, minimum and maximum, multiplication, a lane of 16 bytes at a
// time. Intel SDM volume 2, PADDB and the others by name.

import { LANE } from './layout';
import * as K from './vector_kinds';

/** x is the first source (of SSE: the destination), y the second. */
export function integer(kind: i32, x: v128, y: v128, constant: u32): v128 {
  switch (kind) {
    case K.PADDB: return i8x16.add(x, y);
    case K.PADDW: return i16x8.add(x, y);
    case K.PADDD: return i32x4.add(x, y);
    case K.PADDQ: return i64x2.add(x, y);
    case K.PSUBB: return i8x16.sub(x, y);
    case K.PSUBW: return i16x8.sub(x, y);
    case K.PSUBD: return i32x4.sub(x, y);
    case K.PSUBQ: return i64x2.sub(x, y);
    case K.PADDSB: return i8x16.add_sat_s(x, y);
    case K.PADDSW: return i16x8.add_sat_s(x, y);
    case K.PADDUSB: return i8x16.add_sat_u(x, y);
    case K.PADDUSW: return i16x8.add_sat_u(x, y);
    case K.PSUBSB: return i8x16.sub_sat_s(x, y);
    case K.PSUBSW: return i16x8.sub_sat_s(x, y);
    case K.PSUBUSB: return i8x16.sub_sat_u(x, y);
    case K.PSUBUSW: return i16x8.sub_sat_u(x, y);
    case K.PAND: return v128.and(x, y);
    case K.PANDN: return v128.andnot(y, x);
    case K.POR: return v128.or(x, y);
    case K.PXOR: return v128.xor(x, y);
    case K.PCMPEQB: return i8x16.eq(x, y);
    case K.PCMPEQW: return i16x8.eq(x, y);
    case K.PCMPEQD: return i32x4.eq(x, y);
    case K.PCMPEQQ: return i64x2.eq(x, y);
    case K.PCMPGTB: return i8x16.gt_s(x, y);
    case K.PCMPGTW: return i16x8.gt_s(x, y);
    case K.PCMPGTD: return i32x4.gt_s(x, y);
    case K.PCMPGTQ: return i64x2.gt_s(x, y);
    case K.PMINUB: return i8x16.min_u(x, y);
    case K.PMINSW: return i16x8.min_s(x, y);
    case K.PMAXUB: return i8x16.max_u(x, y);
    case K.PMAXSW: return i16x8.max_s(x, y);
    case K.PMINSB: return i8x16.min_s(x, y);
    case K.PMINUW: return i16x8.min_u(x, y);
    case K.PMINSD: return i32x4.min_s(x, y);
    case K.PMINUD: return i32x4.min_u(x, y);
    case K.PMAXSB: return i8x16.max_s(x, y);
    case K.PMAXUW: return i16x8.max_u(x, y);
    case K.PMAXSD: return i32x4.max_s(x, y);
    case K.PMAXUD: return i32x4.max_u(x, y);
    case K.PAVGB: return i8x16.avgr_u(x, y);
    case K.PAVGW: return i16x8.avgr_u(x, y);
    case K.PMULLW: return i16x8.mul(x, y);
    case K.PMULHW: return upperHalves(i32x4.extmul_low_i16x8_s(x, y), i32x4.extmul_high_i16x8_s(x, y));
    case K.PMULHUW: return upperHalves(i32x4.extmul_low_i16x8_u(x, y), i32x4.extmul_high_i16x8_u(x, y));
    case K.PMULLD: return i32x4.mul(x, y);
    case K.PMULUDQ: return i64x2.extmul_low_i32x4_u(evenDwords(x), evenDwords(y));
    case K.PMULDQ: return i64x2.extmul_low_i32x4_s(evenDwords(x), evenDwords(y));
    case K.PMADDWD: return i32x4.dot_i16x8_s(x, y);
    case K.PMADDUBSW: return maddubsw(x, y);
    case K.PMULHRSW: return mulhrsw(x, y);
    case K.PSADBW: return sadbw(x, y);
    case K.PABSB: return i8x16.abs(y);
    case K.PABSW: return i16x8.abs(y);
    case K.PABSD: return i32x4.abs(y);
    case K.PSIGNB: return sign(x, i8x16.neg(x), i8x16.lt_s(y, i8x16.splat(0)), i8x16.eq(y, i8x16.splat(0)));
    case K.PSIGNW: return sign(x, i16x8.neg(x), i16x8.lt_s(y, i16x8.splat(0)), i16x8.eq(y, i16x8.splat(0)));
    case K.PSIGND: return sign(x, i32x4.neg(x), i32x4.lt_s(y, i32x4.splat(0)), i32x4.eq(y, i32x4.splat(0)));
    case K.PHADDW: return i16x8.add(evenWords(x, y), oddWords(x, y));
    case K.PHADDD: return i32x4.add(v128.shuffle<i32>(x, y, 0, 2, 4, 6), v128.shuffle<i32>(x, y, 1, 3, 5, 7));
    case K.PHADDSW: return i16x8.add_sat_s(evenWords(x, y), oddWords(x, y));
    case K.PHSUBW: return i16x8.sub(evenWords(x, y), oddWords(x, y));
    case K.PHSUBD: return i32x4.sub(v128.shuffle<i32>(x, y, 0, 2, 4, 6), v128.shuffle<i32>(x, y, 1, 3, 5, 7));
    case K.PHSUBSW: return i16x8.sub_sat_s(evenWords(x, y), oddWords(x, y));
    case K.PHMINPOSUW: return minimumAndPlace(y);
    case K.MPSADBW: return mpsadbw(x, y, constant);
    default: return x;
  }
}

/** Bits 16 to 31 of eight products. */
function upperHalves(low: v128, high: v128): v128 {
  return v128.shuffle<i16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
}
function evenDwords(x: v128): v128 {
  return v128.shuffle<i32>(x, x, 0, 2, 0, 2);
}
function evenWords(x: v128, y: v128): v128 {
  return v128.shuffle<i16>(x, y, 0, 2, 4, 6, 8, 10, 12, 14);
}
function oddWords(x: v128, y: v128): v128 {
  return v128.shuffle<i16>(x, y, 1, 3, 5, 7, 9, 11, 13, 15);
}

/** PMADDUBSW: unsigned bytes of x times signed ones of y, neighbours added with saturation */
function maddubsw(x: v128, y: v128): v128 {
  const low = i16x8.mul(i16x8.extend_low_i8x16_u(x), i16x8.extend_low_i8x16_s(y));
  const high = i16x8.mul(i16x8.extend_high_i8x16_u(x), i16x8.extend_high_i8x16_s(y));
  return i16x8.add_sat_s(evenWords(low, high), oddWords(low, high));
}

/** PMULHRSW: of -32768 times itself the manual's result is -32768, where WebAssembly saturates */
function mulhrsw(x: v128, y: v128): v128 {
  const least = i16x8.splat(-32768);
  const both = v128.and(i16x8.eq(x, least), i16x8.eq(y, least));
  return v128.bitselect(least, i16x8.q15mulr_sat_s(x, y), both);
}

/** PSADBW: differences of bytes, added in each half */
function sadbw(x: v128, y: v128): v128 {
  const differences = v128.or(i8x16.sub_sat_u(x, y), i8x16.sub_sat_u(y, x));
  const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(differences));
  const zero = i32x4.splat(0);
  return i32x4.add(v128.shuffle<i32>(sums, zero, 0, 4, 2, 4), v128.shuffle<i32>(sums, zero, 1, 4, 3, 4));
}

function sign(x: v128, negated: v128, isNegative: v128, isZero: v128): v128 {
  return v128.andnot(v128.bitselect(negated, x, isNegative), isZero);
}

/** PHMINPOSUW: the smallest word, and its number */
function minimumAndPlace(y: v128): v128 {
  v128.store(LANE, y);
  let least: u32 = 0;
  for (let i: u32 = 1; i < 8; i++) if (load<u16>(LANE + 2 * i) < load<u16>(LANE + 2 * least)) least = i;
  return i32x4.replace_lane(i32x4.splat(0), 0, (least << 16) | load<u16>(LANE + 2 * least));
}

/** MPSADBW: four bytes of y against four of x, from eight places on */
function mpsadbw(x: v128, y: v128, constant: u32): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  const from = LANE + (constant & 4);
  const block = LANE + 16 + ((constant & 3) << 2);
  for (let i: u32 = 0; i < 8; i++) {
    let sum: u32 = 0;
    for (let k: u32 = 0; k < 4; k++) sum += abs<i32>(<i32>load<u8>(from + i + k) - <i32>load<u8>(block + k));
    store<u16>(LANE + 32 + 2 * i, sum);
  }
  return v128.load(LANE, 32);
}
