// Vector registers moved whole or in part, to and from memory and general registers: MOVAPS, MOVDQU, MOVSS, MOVQ, PINSRx,
// PMOVZX, PBLENDVB, PMOVMSKB, PTEST, VBROADCASTx, VPERMx. Intel SDM volume 2.

import { setCarryOverflow, setLogic } from './flags';
import { FLAG_ZERO, LANE, VECTOR_REGISTER, ZMM } from './layout';
import { a, address, b, c, imm } from './state';
import * as K from './vector_kinds';
import { masks } from './vector_mask';
import { aligned, readBytes, writeBytes } from './vector_memory';
import { clearAbove, elementOf, lanesOf, signAt, storeElement } from './vector_operands';
import { state } from './vector_state';

/** @returns false after a fault */
export function moves(kind: i32, op: u32): bool {
  const bytes = lanesOf(op) << 4;
  switch (kind) {
    case K.V_LOAD: return loadVector(op);
    case K.V_LOAD_BROADCAST: return loadBroadcast(op);
    case K.V_STORE: return storeVector(op);
    case K.V_MOV: memory.copy(a(op), c(op), bytes); break;
    case K.V_MOVZ: moveZeroing(op); break;
    case K.V_MOV_LOW: moveLow(op); break;
    case K.V_BROADCAST: repeat(a(op), c(op), <u32>imm(op), bytes); break;
    case K.V_INSERT: insert(op, bytes); break;
    case K.V_EXTEND: extend(op, bytes); break;
    case K.V_BLENDV: blendv(op, bytes); break;
    case K.V_MASK: mask(op, bytes); return true;
    case K.V_TEST: test(op, bytes); return true;
    case K.V_PERM128:
      if ((imm(op) & 0x100) != 0) shuffleLanes(op, bytes);
      else perm128(op);
      break;
    case K.V_PERMQ: permq(op, bytes); break;
    case K.V_PERMD: permd(op, bytes); break;
    case K.V_ZERO_UPPER: zeroUpper(imm(op) != 0 ? 0 : 16); return true;
    case K.V_LDMXCSR: case K.V_STMXCSR: case K.V_FXSAVE: case K.V_FXRSTOR: case K.V_XSAVE: case K.V_XRSTOR:
      return state(kind, op);
    default:
      return masks(kind, op, bytes);
  }
  clearAbove(op, bytes);
  return true;
}

function loadVector(op: u32): bool {
  const bytes = <u32>imm(op) & 0xff;
  if ((imm(op) & K.ALIGNED) != 0 && !aligned(address(op), bytes)) return false;
  return readBytes(address(op), bytes, a(op));
}
function loadBroadcast(op: u32): bool {
  const size = <u32>imm(op) & 0xff;
  if (c(op) == 0 && !readBytes(address(op), size, a(op))) return false;
  if (c(op) != 0 && !readMasked(op, size)) return false;
  repeat(a(op), a(op), size, VECTOR_REGISTER);
  return true;
}
/** Each element of memory that some element of the result is of. */
function readMasked(op: u32, size: u32): bool {
  const elements = (<u32>imm(op) >> 8) & 0xff;
  const element = (<u32>imm(op) >> 16) & 0xff;
  const mask = load<u64>(c(op));
  for (let at: u32 = 0; at < size; at += element) {
    let isWanted = false;
    for (let i = at / element; i < elements; i += size / element) isWanted = isWanted || ((mask >> i) & 1) != 0;
    if (isWanted && !readBytes(address(op) + at, element, a(op) + at)) return false;
  }
  return true;
}
function storeVector(op: u32): bool {
  const bytes = <u32>imm(op) & 0xff;
  if ((imm(op) & K.ALIGNED) != 0 && !aligned(address(op), bytes)) return false;
  return writeBytes(address(op), bytes, a(op));
}

/** `size` bytes again and again. */
function repeat(to: u32, from: u32, size: u32, bytes: u32): void {
  memory.copy(LANE, from, size);
  for (let at: u32 = 0; at < bytes; at += size) memory.copy(to + at, LANE, size);
}

/** MOVD, MOVQ, MOVSS and MOVSD from memory */
function moveZeroing(op: u32): void {
  const size = <u32>imm(op);
  memory.copy(LANE, c(op), size);
  memory.fill(LANE + size, 0, 16 - size);
  v128.store(a(op), v128.load(LANE));
}
function moveLow(op: u32): void {
  const size = <u32>imm(op);
  v128.store(LANE, v128.load(b(op)));
  memory.copy(LANE, c(op), size);
  v128.store(a(op), v128.load(LANE));
}
function insert(op: u32, bytes: u32): void {
  const size = <u32>imm(op) & 0xff;
  memory.copy(LANE, c(op), size);
  memory.copy(a(op), b(op), bytes);
  memory.copy(a(op) + (<u32>imm(op) >> 8), LANE, size);
}

function extend(op: u32, bytes: u32): void {
  const from = <u32>imm(op) & 0xff;
  const to = (<u32>imm(op) >> 8) & 0xff;
  const signed = (imm(op) & 0x10000) != 0;
  memory.copy(LANE, c(op), bytes >> 1);
  for (let i: u32 = 0; i * to < bytes; i++) storeElement(a(op) + i * to, to, elementOf(LANE + i * from, from, signed));
}

/** PBLENDVB, BLENDVPS, BLENDVPD */
function blendv(op: u32, bytes: u32): void {
  const size = <u32>imm(op);
  const chooser = <u32>(imm(op) >> 32);
  for (let at: u32 = 0; at < bytes; at += size)
    memory.copy(LANE + at, (signAt(chooser + at, size) ? c(op) : b(op)) + at, size);
  memory.copy(a(op), LANE, bytes);
}

/** PMOVMSKB, MOVMSKPS, MOVMSKPD */
function mask(op: u32, bytes: u32): void {
  const size = <u32>imm(op);
  let bits: u32 = 0;
  for (let at: u32 = 0, bit: u32 = 0; at < bytes; at += size, bit++) bits |= (<u32>signAt(c(op) + at, size)) << bit;
  store<u64>(a(op), bits);
}

/** PTEST: OF, AF, PF and SF are 0 */
function test(op: u32, bytes: u32): void {
  let both = i64x2.splat(0);
  let only = both;
  for (let at: u32 = 0; at < bytes; at += 16) {
    const x = v128.load(b(op) + at);
    const y = v128.load(c(op) + at);
    both = v128.or(both, v128.and(x, y));
    only = v128.or(only, v128.andnot(y, x));
  }
  setLogic<u64>(1); // no sign, and an odd number of ones
  store<u64>(FLAG_ZERO, v128.any_true(both) ? 1 : 0);
  setCarryOverflow(!v128.any_true(only), false);
}

/** VPERM2I128: each half by four bits: one of four halves, or zeros */
function perm128(op: u32): void {
  const constant = <u32>imm(op);
  for (let half: u32 = 0; half < 2; half++) {
    const control = constant >> (4 * half);
    const from = ((control & 2) != 0 ? c(op) : b(op)) + ((control & 1) << 4);
    v128.store(LANE + 16 * half, (control & 8) != 0 ? i64x2.splat(0) : v128.load(from));
  }
  memory.copy(a(op), LANE, 32);
}

/** VSHUFI64X2, VSHUFF32X4: the lower lanes out of b, the upper ones out of c */
function shuffleLanes(op: u32, bytes: u32): void {
  const bits: u32 = bytes == 64 ? 2 : 1;
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += 16, i++) {
    const from = (<u32>imm(op) >> (bits * i)) & (2 * bits - 1);
    v128.store(LANE + at, v128.load((at < bytes / 2 ? b(op) : c(op)) + 16 * from));
  }
  memory.copy(a(op), LANE, bytes);
}

/** VPERMQ, VPERMPD: in each half of 32 bytes four qwords, two bits each */
function permq(op: u32, bytes: u32): void {
  for (let at: u32 = 0; at < bytes; at += 8) {
    const from = (<u32>imm(op) >> ((at >> 2) & 6)) & 3;
    store<u64>(LANE + at, load<u64>(c(op) + (at & 0x20) + 8 * from));
  }
  memory.copy(a(op), LANE, bytes);
}
/** VPERMD, VPERMQ by a register: elements of c in the order that b says */
function permd(op: u32, bytes: u32): void {
  const size = <u32>imm(op);
  const most = bytes / size - 1;
  for (let at: u32 = 0; at < bytes; at += size) {
    const from = load<u32>(b(op) + at) & most;
    memory.copy(LANE + at, c(op) + from * size, size);
  }
  memory.copy(a(op), LANE, bytes);
}

/** VZEROUPPER, VZEROALL: of the first sixteen */
function zeroUpper(keep: u32): void {
  for (let i: u32 = 0; i < 16; i++) memory.fill(ZMM + i * VECTOR_REGISTER + keep, 0, VECTOR_REGISTER - keep);
}
