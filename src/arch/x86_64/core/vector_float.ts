// Vector numbers with a point: ADDPS, MULSD, CMPPD, COMISS, CVTSI2SD and the others by name. Intel SDM volume 2.
//
// Invariant: nothing is written before it is known that no exception that MXCSR does not mask was raised.

import { AF, CF, OF, PF, readFlags, SF, writeFlags, ZF } from './flags';
import {
  added, beginExceptions, divided, exceptions, fromInteger, INVALID, isEqual, isLess, isNan, isSignaling, multiplied,
  noteDenormal, operand, raise, reciprocal, resized, roundedWhole, roundingOfMxcsr, smaller, squareRoot, toInteger, TRUNCATE,
} from './float_number';
import { STOP_SIMD } from './kinds';
import { LANE, MXCSR, OP_IMM, STOP } from './layout';
import { a, b, c, imm } from './state';
import * as K from './vector_kinds';
import { clearAbove, elementOf, lanesOf, storeElement } from './vector_operands';

/** Invalid, divide by zero and denormal are found before, the others behind the computation: so they are told. */
const BEFORE: u32 = 7;

/** @returns false after an exception */
export function floats(kind: i32, op: u32): bool {
  const bytes = lanesOf(op) << 4;
  beginExceptions();
  switch (kind) {
    case K.FCOMI: return compareFlags(op);
    case K.F_TO_INT: return toGeneral(op);
    case K.F_FROM_INT: case K.F_RESIZE: convertScalar(kind, op); break;
    case K.F_FROM_INTS: fromIntegers(op, bytes); break;
    case K.F_TO_INTS: toIntegers(op, bytes); break;
    case K.F_RESIZES: resizeAll(op, bytes); break;
    default: elements(kind, op, bytes);
  }
  if (!told()) return false;
  memory.copy(a(op), LANE, bytes);
  clearAbove(op, bytes);
  return true;
}

/** The exceptions that were raised become flags. @returns false when MXCSR does not mask one of them */
function told(): bool {
  const mxcsr = load<u32>(MXCSR);
  const unmasked = exceptions() & ~(mxcsr >> 7) & 0x3f;
  store<u32>(MXCSR, mxcsr | ((unmasked & BEFORE) != 0 ? exceptions() & BEFORE : exceptions()));
  if (unmasked == 0) return true;
  store<u32>(STOP, STOP_SIMD);
  return false;
}

// @ts-expect-error: decorator
@inline function sizeOf(op: u32): u32 {
  return load<u8>(op + OP_IMM, 1);
}
// @ts-expect-error: decorator
@inline function isScalar(op: u32): bool {
  return load<u8>(op + OP_IMM, 2) != 0;
}
// @ts-expect-error: decorator
@inline function constantOf(op: u32): u32 {
  return load<u8>(op + OP_IMM);
}
// @ts-expect-error: decorator
@inline function element(at: u32, size: u32): u64 {
  return size == 8 ? load<u64>(at) : <u64>load<u32>(at);
}

/** What is computed element by element, into LANE; of scalar ones the rest is b's. */
function elements(kind: i32, op: u32, bytes: u32): void {
  const size = sizeOf(op);
  const constant = constantOf(op);
  if (isScalar(op)) memory.copy(LANE, b(op), bytes);
  const end = isScalar(op) ? size : bytes;
  for (let at: u32 = 0; at < end; at += size)
    storeElement(LANE + at, size, computed(kind, op, at, size, constant));
}

function computed(kind: i32, op: u32, at: u32, size: u32, constant: u32): u64 {
  const rounding = roundingOfMxcsr();
  const x = element(b(op) + at, size);
  const y = element(c(op) + at, size);
  switch (kind) {
    case K.FADD: return added(x, y, size, rounding);
    case K.FMUL: return multiplied(x, y, size, rounding);
    case K.FSUB: return subtracted(x, y, size, rounding);
    case K.FMIN: return smaller(x, y, size, false);
    case K.FDIV: return divided(x, y, size, rounding);
    case K.FMAX: return smaller(x, y, size, true);
    case K.FSQRT: return squareRoot(y, size, rounding);
    case K.FCMP: return compared(x, y, size, constant);
    case K.FRCP: return reciprocal(y, false);
    case K.FRSQRT: return reciprocal(y, true);
    case K.FDP: return dotProduct(op, at, size, constant, rounding);
    case K.FROUND: return roundedWhole(y, size, (constant & 4) != 0 ? rounding : constant & 3, (constant & 8) == 0);
    case K.FADDSUB: return (at & size) != 0 ? added(x, y, size, rounding) : subtracted(x, y, size, rounding);
    default: return horizontal(kind, op, at, size, rounding);
  }
}

/** x - y; a NaN keeps its sign. */
function subtracted(x: u64, y: u64, size: u32, rounding: u32): u64 {
  return added(x, isNan(y, size) ? y : y ^ ((<u64>1) << (8 * size - 1)), size, rounding);
}

/** HADDPS, HSUBPS: neighbours of b, then neighbours of c */
function horizontal(kind: i32, op: u32, at: u32, size: u32, rounding: u32): u64 {
  const inLane = (at & 15) << 1;
  const from = (inLane < 16 ? b(op) : c(op)) + (at & ~15) + (inLane & 15);
  const x = element(from, size);
  const y = element(from + size, size);
  return kind == K.FHADD ? added(x, y, size, rounding) : subtracted(x, y, size, rounding);
}

/** DPPS, DPPD: of the elements that the upper half of the constant chooses, where the lower half says; else 0 */
function dotProduct(op: u32, at: u32, size: u32, constant: u32, rounding: u32): u64 {
  let sum = added(product(op, at & ~15, size, constant, 0, rounding), product(op, at & ~15, size, constant, 1, rounding), size, rounding);
  if (size == 4) sum = added(sum, added(product(op, at & ~15, size, constant, 2, rounding), product(op, at & ~15, size, constant, 3, rounding), size, rounding), size, rounding);
  return ((constant >> ((at & 15) / size)) & 1) != 0 ? sum : 0;
}
function product(op: u32, lane: u32, size: u32, constant: u32, i: u32, rounding: u32): u64 {
  if (((constant >> (4 + i)) & 1) == 0) return 0;
  return multiplied(element(b(op) + lane + i * size, size), element(c(op) + lane + i * size, size), size, rounding);
}

/** CMPPS: eq lt le unord, neq nlt nle ord; from 8 on as VEX has them: bit 3 changes what is said of a NaN, bit 4 which of them are told */
function compared(first: u64, second: u64, size: u32, constant: u32): u64 {
  const x = operand(first, size);
  const y = operand(second, size);
  const unordered = isNan(x, size) || isNan(y, size);
  const quietly = (((constant & 3) == 0 || (constant & 3) == 3) ? 1 : 0) != ((constant >> 4) & 1);
  if (isSignaling(x, size) || isSignaling(y, size) || (unordered && !quietly)) raise(INVALID);
  if (!unordered) {
    noteDenormal(x, size);
    noteDenormal(y, size);
  }
  const all = size == 8 ? ~(<u64>0) : 0xffffffff;
  return holds(x, y, size, constant & 15, unordered) ? all : 0;
}
function holds(x: u64, y: u64, size: u32, predicate: u32, unordered: bool): bool {
  // 8 eq or unordered, 9 nge, a ngt, b false, c neq and ordered, d ge, e gt, f true
  const negated = (predicate & 4) != 0;
  switch (predicate & 3) {
    case 3: return (predicate & 8) != 0 ? negated : unordered != negated;
    case 0: return unordered ? negated != ((predicate & 8) != 0) : isEqual(x, y, size) != negated;
  }
  if ((predicate & 8) != 0) {
    if (unordered) return !negated;
    const less = isLess(x, y, size);
    if ((predicate & 3) == 1) return less != negated; // nge, ge
    return (less || isEqual(x, y, size)) != negated; // ngt, gt
  }
  if (unordered) return negated;
  const less = isLess(x, y, size);
  return (less || ((predicate & 3) == 2 && isEqual(x, y, size))) != negated;
}

/** COMISS, UCOMISS: ZF, PF, CF; the others 0 */
function compareFlags(op: u32): bool {
  const size = sizeOf(op);
  const x = operand(element(b(op), size), size);
  const y = operand(element(c(op), size), size);
  const unordered = isNan(x, size) || isNan(y, size);
  const quietly = constantOf(op) != 0;
  if (isSignaling(x, size) || isSignaling(y, size) || (unordered && !quietly)) raise(INVALID);
  if (!unordered) {
    noteDenormal(x, size);
    noteDenormal(y, size);
  }
  if (!told()) return false;
  const flags = unordered ? ZF | PF | CF : isLess(x, y, size) ? CF : isEqual(x, y, size) ? ZF : 0;
  writeFlags((readFlags() & ~(ZF | PF | CF | OF | SF | AF)) | flags);
  return true;
}

function roundingFor(constant: u32): u32 {
  return (constant & 0x80) != 0 ? TRUNCATE : roundingOfMxcsr();
}

/** CVTSD2SI, CVTTSD2SI */
function toGeneral(op: u32): bool {
  const bytes = constantOf(op) & 0x7f;
  const value = toInteger(element(c(op), sizeOf(op)), sizeOf(op), bytes, roundingFor(constantOf(op)));
  if (!told()) return false;
  store<u64>(a(op), bytes == 4 ? value & 0xffffffff : value);
  return true;
}

/** CVTSI2SD, CVTSS2SD: the low element; the rest is b's */
function convertScalar(kind: i32, op: u32): void {
  const size = sizeOf(op);
  v128.store(LANE, v128.load(b(op)));
  if (kind == K.F_RESIZE) {
    const to: u32 = size == 8 ? 4 : 8;
    storeElement(LANE, to, resized(element(c(op), size), size, to, roundingOfMxcsr()));
    return;
  }
  const value = <i64>elementOf(c(op), constantOf(op), true);
  storeElement(LANE, size, fromInteger(value, size, roundingOfMxcsr()));
}

/** CVTDQ2PS, CVTDQ2PD */
function fromIntegers(op: u32, bytes: u32): void {
  const size = sizeOf(op);
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i += 4)
    storeElement(LANE + at, size, fromInteger(<i64>load<i32>(c(op) + i), size, roundingOfMxcsr()));
}
/** CVTPS2DQ, CVTPD2DQ: of eight bytes half as many result */
function toIntegers(op: u32, bytes: u32): void {
  const size = sizeOf(op);
  memory.fill(LANE, 0, 64);
  const count: u32 = isScalar(op) ? 2 : bytes >> 2;
  for (let i: u32 = 0; i < count; i++) {
    const value = toInteger(element(c(op) + i * size, size), size, 4, roundingFor(constantOf(op)));
    store<u32>(LANE + 4 * i, <u32>value);
  }
}
/** CVTPS2PD, CVTPD2PS */
function resizeAll(op: u32, bytes: u32): void {
  const size = sizeOf(op);
  const to: u32 = size == 8 ? 4 : 8;
  memory.fill(LANE, 0, 64);
  const count: u32 = isScalar(op) ? 2 : bytes / to;
  for (let i: u32 = 0; i < count; i++)
    storeElement(LANE + to * i, to, resized(element(c(op) + i * size, size), size, to, roundingOfMxcsr()));
}
