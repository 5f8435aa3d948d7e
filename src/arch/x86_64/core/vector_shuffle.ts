// Vector elements moved about and shifted, a lane of 16 bytes at a time: unpack, pack, shuffle, blend, shifts.
// Intel SDM volume 2, PUNPCKLBW and the others by name.

import { LANE } from './layout';
import * as K from './vector_kinds';

/** x is the first source (of SSE: the destination), y the second, z what the destination holds. */
export function shuffle(kind: i32, x: v128, y: v128, constant: u32, z: v128): v128 {
  switch (kind) {
    case K.PUNPCKLBW: return v128.shuffle<i8>(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    case K.PUNPCKLWD: return v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
    case K.PUNPCKLDQ: return v128.shuffle<i32>(x, y, 0, 4, 1, 5);
    case K.PUNPCKLQDQ: return v128.shuffle<i64>(x, y, 0, 2);
    case K.PUNPCKHBW: return v128.shuffle<i8>(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    case K.PUNPCKHWD: return v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
    case K.PUNPCKHDQ: return v128.shuffle<i32>(x, y, 2, 6, 3, 7);
    case K.PUNPCKHQDQ: return v128.shuffle<i64>(x, y, 1, 3);
    case K.PACKSSWB: return i8x16.narrow_i16x8_s(x, y);
    case K.PACKSSDW: return i16x8.narrow_i32x4_s(x, y);
    case K.PACKUSWB: return i8x16.narrow_i16x8_u(x, y);
    case K.PACKUSDW: return i16x8.narrow_i32x4_u(x, y);
    case K.PSHUFB: return v128.swizzle(x, v128.and(y, i8x16.splat(<i8>0x8f)));
    case K.PSHUFD: return dwords(y, y, constant);
    case K.PSHUFLW: return words(y, constant, 0);
    case K.PSHUFHW: return words(y, constant, 4);
    case K.SHUFPS: return dwords(x, y, constant);
    case K.SHUFPD: return qwords(x, y, constant);
    case K.PALIGNR: return alignRight(x, y, constant & 0xff);
    case K.PBLENDW: return blend(x, y, constant, 2);
    case K.BLENDPS: return blend(x, y, constant, 4);
    case K.BLENDPD: return blend(x, y, constant, 8);
    case K.INSERTPS: return insertps(x, y, constant);
    case K.MOVDDUP: return v128.shuffle<i64>(y, y, 0, 0);
    case K.MOVSLDUP: return v128.shuffle<i32>(y, y, 0, 0, 2, 2);
    case K.MOVSHDUP: return v128.shuffle<i32>(y, y, 1, 1, 3, 3);
    case K.VPERMILPS: return permilps(x, y);
    case K.VPERMILPD: return permilpd(x, y);
    case K.PSLLW: return shift16(x, y, 0);
    case K.PSLLD: return shift32(x, y, 0);
    case K.PSLLQ: return shift64(x, y, 0);
    case K.PSRLW: return shift16(x, y, 1);
    case K.PSRLD: return shift32(x, y, 1);
    case K.PSRLQ: return shift64(x, y, 1);
    case K.PSRAW: return i16x8.shr_s(x, <i32>min<u64>(count(y), 15));
    case K.PSRAD: return i32x4.shr_s(x, <i32>min<u64>(count(y), 31));
    case K.PSLLDQ: return alignRight(x, i64x2.splat(0), 16 - min<u32>(constant & 0xff, 16));
    case K.PSRLDQ: return alignRight(i64x2.splat(0), x, constant & 0xff);
    case K.PROLD: return v128.or(i32x4.shl(x, constant & 31), i32x4.shr_u(x, (32 - constant) & 31));
    case K.PROLQ: return v128.or(i64x2.shl(x, constant & 63), i64x2.shr_u(x, (64 - constant) & 63));
    case K.VPSLLVD: case K.VPSRLVD: case K.VPSRAVD: return shiftEachDword(kind, x, y);
    case K.VPSLLVQ: case K.VPSRLVQ: return shiftEachQword(kind, x, y);
    case K.VPTERNLOG: return ternary(z, x, y, constant);
    default: return x;
  }
}

/** Two dwords of x, then two of y, two bits of the constant each. */
function dwords(x: v128, y: v128, constant: u32): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  let r = i32x4.splat(load<i32>(LANE + ((constant & 3) << 2)));
  r = i32x4.replace_lane(r, 1, load<i32>(LANE + (((constant >> 2) & 3) << 2)));
  r = i32x4.replace_lane(r, 2, load<i32>(LANE + (((constant >> 4) & 3) << 2), 16));
  return i32x4.replace_lane(r, 3, load<i32>(LANE + (((constant >> 6) & 3) << 2), 16));
}
function qwords(x: v128, y: v128, constant: u32): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  const low = i64x2.splat(load<i64>(LANE + ((constant & 1) << 3)));
  return i64x2.replace_lane(low, 1, load<i64>(LANE + ((constant & 2) << 2), 16));
}
/** Four words of one half, from word `first` on; the others stay. */
function words(y: v128, constant: u32, first: u32): v128 {
  v128.store(LANE, y);
  v128.store(LANE, y, 16);
  for (let i: u32 = 0; i < 4; i++) {
    const from = first + ((constant >> (2 * i)) & 3);
    store<u16>(LANE + 16 + 2 * (first + i), load<u16>(LANE + 2 * from));
  }
  return v128.load(LANE, 16);
}

/** 16 bytes of x:y, `bytes` further up. */
function alignRight(x: v128, y: v128, bytes: u32): v128 {
  if (bytes >= 32) return i64x2.splat(0);
  v128.store(LANE, y);
  v128.store(LANE, x, 16);
  v128.store(LANE, i64x2.splat(0), 32);
  return v128.load(LANE + bytes);
}

/** Elements of y where the constant has a bit, else of x. */
function blend(x: v128, y: v128, constant: u32, size: u32): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  for (let i: u32 = 0; i * size < 16; i++)
    if ((constant >> i) & 1) memory.copy(LANE + i * size, LANE + 16 + i * size, size);
  return v128.load(LANE);
}

/** INSERTPS: one dword of y into x, then zeros by the low four bits. In memory it is the only one. */
function insertps(x: v128, y: v128, constant: u32): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  store<u32>(LANE + ((constant >> 2) & 12), load<u32>(LANE + ((constant >> 4) & 12), 16));
  for (let i: u32 = 0; i < 4; i++) if ((constant >> i) & 1) store<u32>(LANE + 4 * i, 0);
  return v128.load(LANE);
}

/** VPERMILPS, VPERMILPD: elements of x in the order that y says */
function permilps(x: v128, y: v128): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  for (let i: u32 = 0; i < 4; i++) {
    const from = load<u32>(LANE + 16 + 4 * i) & 3;
    store<u32>(LANE + 32 + 4 * i, load<u32>(LANE + 4 * from));
  }
  return v128.load(LANE, 32);
}
function permilpd(x: v128, y: v128): v128 {
  const order = (<u32>(i64x2.extract_lane(y, 0) >> 1) & 1) | (<u32>(i64x2.extract_lane(y, 1)) & 2);
  return qwords(x, x, order);
}

/** By how much: the low 64 bits. */
// @ts-expect-error: decorator
@inline function count(y: v128): u64 {
  return <u64>i64x2.extract_lane(y, 0);
}
function shift16(x: v128, y: v128, right: u32): v128 {
  const n = count(y);
  if (n > 15) return i64x2.splat(0);
  return right ? i16x8.shr_u(x, <i32>n) : i16x8.shl(x, <i32>n);
}
function shift32(x: v128, y: v128, right: u32): v128 {
  const n = count(y);
  if (n > 31) return i64x2.splat(0);
  return right ? i32x4.shr_u(x, <i32>n) : i32x4.shl(x, <i32>n);
}
function shift64(x: v128, y: v128, right: u32): v128 {
  const n = count(y);
  if (n > 63) return i64x2.splat(0);
  return right ? i64x2.shr_u(x, <i32>n) : i64x2.shl(x, <i32>n);
}

/** VPSLLVD, VPSRLVD, VPSRAVD: each by the count at its place */
function shiftEachDword(kind: i32, x: v128, y: v128): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  for (let at: u32 = LANE; at < <u32>LANE + 16; at += 4) {
    const value = load<u32>(at);
    const n = load<u32>(at, 16);
    if (kind == K.VPSRAVD) store<i32>(at, <i32>value >> min<u32>(n, 31));
    else store<u32>(at, n > 31 ? 0 : kind == K.VPSLLVD ? value << n : value >> n);
  }
  return v128.load(LANE);
}
function shiftEachQword(kind: i32, x: v128, y: v128): v128 {
  v128.store(LANE, x);
  v128.store(LANE, y, 16);
  for (let at: u32 = LANE; at < <u32>LANE + 16; at += 8) {
    const value = load<u64>(at);
    const n = load<u64>(at, 16);
    store<u64>(at, n > 63 ? 0 : kind == K.VPSLLVQ ? value << n : value >> n);
  }
  return v128.load(LANE);
}

/** VPTERNLOG: each bit by the three at its place, which number a bit of the constant */
function ternary(z: v128, x: v128, y: v128, constant: u32): v128 {
  let r = i64x2.splat(0);
  for (let row: u32 = 0; row < 8; row++) {
    if (((constant >> row) & 1) == 0) continue;
    const first = row & 4 ? z : v128.not(z);
    const second = row & 2 ? x : v128.not(x);
    r = v128.or(r, v128.and(v128.and(first, second), row & 1 ? y : v128.not(y)));
  }
  return r;
}
