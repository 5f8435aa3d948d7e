// AES, SHA-1, SHA-256 and the multiplication without carries, a lane of 16 bytes at a time. Intel SDM volume 2: AESENC,
// SHA1RNDS4, SHA256RNDS2, PCLMULQDQ; FIPS 197 and 180-4.

import { LANE, ZMM } from './layout';
import * as K from './vector_kinds';

/** x is the first source (of SSE: the destination), y the second. */
export function crypto(kind: i32, x: v128, y: v128, constant: u32): v128 {
  switch (kind) {
    case K.AESENC: return v128.xor(mixColumns(substituted(shiftedRows(x))), y);
    case K.AESENCLAST: return v128.xor(substituted(shiftedRows(x)), y);
    case K.AESDEC: return v128.xor(unmixColumns(unsubstituted(unshiftedRows(x))), y);
    case K.AESDECLAST: return v128.xor(unsubstituted(unshiftedRows(x)), y);
    case K.AESIMC: return unmixColumns(y);
    case K.AESKEYGENASSIST: return keygenassist(y, constant & 0xff);
    case K.PCLMULQDQ: return clmul(qwordOf(x, constant & 1), qwordOf(y, (constant >> 4) & 1));
    case K.SHA1RNDS4: return sha1rnds4(x, y, constant & 3);
    case K.SHA1NEXTE: return sha1nexte(x, y);
    case K.SHA1MSG1: return v128.xor(x, v128.shuffle<i32>(x, y, 6, 7, 0, 1));
    case K.SHA1MSG2: return sha1msg2(x, y);
    case K.SHA256MSG1: return sha256msg1(x, y);
    case K.SHA256MSG2: return sha256msg2(x, y);
    case K.SHA256RNDS2: return sha256rnds2(x, y);
    default: return x;
  }
}

// AES

/** The multiplicative inverse in GF(2^8), then an affine map: made when they are asked for first. */
const SBOX = memory.data(256);
const INVERSE_SBOX = memory.data(256);

function rotl8(x: u32, by: u32): u32 {
  return ((x << by) | (x >> (8 - by))) & 0xff;
}

/** Walks through the field by its generator 3, and with its inverse in step. */
function makeBoxes(): void {
  let p: u32 = 1;
  let q: u32 = 1;
  do {
    p = (p ^ (p << 1) ^ (p & 0x80 ? 0x11b : 0)) & 0xff;
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 0xff;
    if (q & 0x80) q ^= 0x09;
    setBox(p, q ^ rotl8(q, 1) ^ rotl8(q, 2) ^ rotl8(q, 3) ^ rotl8(q, 4) ^ 0x63);
  } while (p != 1);
  setBox(0, 0x63);
}
function setBox(x: u32, s: u32): void {
  store<u8>(SBOX + x, s);
  store<u8>(INVERSE_SBOX + s, x);
}

function mapped(x: v128, box: usize): v128 {
  if (load<u8>(SBOX) == 0) makeBoxes();
  v128.store(LANE, x);
  for (let i: u32 = 0; i < 16; i++) store<u8>(LANE + i, load<u8>(box + load<u8>(LANE + i)));
  return v128.load(LANE);
}
function substituted(x: v128): v128 {
  return mapped(x, SBOX);
}
function unsubstituted(x: v128): v128 {
  return mapped(x, INVERSE_SBOX);
}
function shiftedRows(x: v128): v128 {
  return v128.shuffle<i8>(x, x, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11);
}
function unshiftedRows(x: v128): v128 {
  return v128.shuffle<i8>(x, x, 0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3);
}
/** Each byte times 2 in GF(2^8). */
function doubled(x: v128): v128 {
  return v128.xor(i8x16.shl(x, 1), v128.and(i8x16.shr_s(x, 7), i8x16.splat(0x1b)));
}
/** Columns turned by so many rows. */
function row1(x: v128): v128 {
  return v128.shuffle<i8>(x, x, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
}
function row2(x: v128): v128 {
  return v128.shuffle<i8>(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}
/** 2 3 1 1 */
function mixColumns(x: v128): v128 {
  const next = row1(x);
  return v128.xor(v128.xor(doubled(v128.xor(x, next)), next), v128.xor(row2(x), row2(next)));
}
/** 14 11 13 9 is 2 3 1 1 of 5 0 4 0 */
function unmixColumns(x: v128): v128 {
  const four = doubled(doubled(v128.xor(x, row2(x))));
  return mixColumns(v128.xor(x, four));
}
function keygenassist(y: v128, constant: u32): v128 {
  const s = substituted(y);
  const x1 = i32x4.extract_lane(s, 1);
  const x3 = i32x4.extract_lane(s, 3);
  const r = i32x4.replace_lane(i32x4.splat(x1), 2, x3);
  const turned = i32x4.replace_lane(r, 1, <i32>rotr<u32>(x1, 8) ^ <i32>constant);
  return i32x4.replace_lane(turned, 3, <i32>rotr<u32>(x3, 8) ^ <i32>constant);
}

// Multiplication without carries

function qwordOf(x: v128, half: u32): u64 {
  return <u64>(half ? i64x2.extract_lane(x, 1) : i64x2.extract_lane(x, 0));
}
function clmul(x: u64, y: u64): v128 {
  let low: u64 = 0;
  let high: u64 = 0;
  for (let i: u64 = 0; i < 64; i++) {
    if (((y >> i) & 1) == 0) continue;
    low ^= x << i;
    if (i != 0) high ^= x >> (64 - i);
  }
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

// SHA. The word that comes first is in the highest dword.

function word(x: v128, i: u32): u32 {
  v128.store(LANE, x);
  return load<u32>(LANE + 4 * i);
}
function four(w3: u32, w2: u32, w1: u32, w0: u32): v128 {
  store<u32>(LANE, w0);
  store<u32>(LANE + 4, w1);
  store<u32>(LANE + 8, w2);
  store<u32>(LANE + 12, w3);
  return v128.load(LANE);
}
function choose(x: u32, y: u32, z: u32): u32 {
  return (x & y) ^ (~x & z);
}
function majority(x: u32, y: u32, z: u32): u32 {
  return (x & y) ^ (x & z) ^ (y & z);
}
function parity(x: u32, y: u32, z: u32): u32 {
  return x ^ y ^ z;
}

/** Four rounds of SHA-1: a b c d in x, the words with e added to the first in y */
function sha1rnds4(x: v128, y: v128, phase: u32): v128 {
  const key: u32 = phase == 0 ? 0x5a827999 : phase == 1 ? 0x6ed9eba1 : phase == 2 ? 0x8f1bbcdc : 0xca62c1d6;
  let s0 = word(x, 3);
  let s1 = word(x, 2);
  let s2 = word(x, 1);
  let s3 = word(x, 0);
  let e: u32 = 0;
  for (let round: u32 = 0; round < 4; round++) {
    const f = phase == 0 ? choose(s1, s2, s3) : phase == 2 ? majority(s1, s2, s3) : parity(s1, s2, s3);
    const next = f + rotl<u32>(s0, 5) + word(y, 3 - round) + e + key;
    e = s3;
    s3 = s2;
    s2 = rotl<u32>(s1, 30);
    s1 = s0;
    s0 = next;
  }
  return four(s0, s1, s2, s3);
}
function sha1nexte(x: v128, y: v128): v128 {
  return i32x4.replace_lane(y, 3, word(y, 3) + rotl<u32>(word(x, 3), 30));
}
function sha1msg2(x: v128, y: v128): v128 {
  const w16 = rotl<u32>(word(x, 3) ^ word(y, 2), 1);
  const w17 = rotl<u32>(word(x, 2) ^ word(y, 1), 1);
  const w18 = rotl<u32>(word(x, 1) ^ word(y, 0), 1);
  const w19 = rotl<u32>(word(x, 0) ^ w16, 1);
  return four(w16, w17, w18, w19);
}

function small0(w: u32): u32 {
  return rotr<u32>(w, 7) ^ rotr<u32>(w, 18) ^ (w >> 3);
}
function small1(w: u32): u32 {
  return rotr<u32>(w, 17) ^ rotr<u32>(w, 19) ^ (w >> 10);
}
function sha256msg1(x: v128, y: v128): v128 {
  const w1 = word(x, 1);
  const w2 = word(x, 2);
  const w3 = word(x, 3);
  const r0 = word(x, 0) + small0(w1);
  const r3 = w3 + small0(word(y, 0));
  return four(r3, w2 + small0(w3), w1 + small0(w2), r0);
}
function sha256msg2(x: v128, y: v128): v128 {
  const w16 = word(x, 0) + small1(word(y, 2));
  const w17 = word(x, 1) + small1(word(y, 3));
  const w18 = word(x, 2) + small1(w16);
  const w19 = word(x, 3) + small1(w17);
  return four(w19, w18, w17, w16);
}

/** Two rounds of SHA-256: c d g h in x, a b e f in y, the words with their constants in xmm0 */
function sha256rnds2(x: v128, y: v128): v128 {
  let s0 = word(y, 3);
  let s1 = word(y, 2);
  let s2 = word(x, 3);
  let s3 = word(x, 2);
  let s4 = word(y, 1);
  let s5 = word(y, 0);
  let s6 = word(x, 1);
  let s7 = word(x, 0);
  for (let round: u32 = 0; round < 2; round++) {
    const big1 = rotr<u32>(s4, 6) ^ rotr<u32>(s4, 11) ^ rotr<u32>(s4, 25);
    const big0 = rotr<u32>(s0, 2) ^ rotr<u32>(s0, 13) ^ rotr<u32>(s0, 22);
    const t = choose(s4, s5, s6) + big1 + load<u32>(ZMM + 4 * round) + s7;
    s7 = s6;
    s6 = s5;
    s5 = s4;
    s4 = t + s3;
    s3 = s2;
    s2 = s1;
    s1 = s0;
    s0 = t + majority(s1, s2, s3) + big0;
  }
  return four(s0, s1, s4, s5);
}
