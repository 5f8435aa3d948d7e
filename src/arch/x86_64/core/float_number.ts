// Numbers of IEEE 754 as SSE computes with them: exact results, rounded once, and the exceptions of MXCSR. Intel SDM
// volume 1, 4.8 and 11.5.
//
// WebAssembly's own operations round to nearest only, tell no exception, and leave a NaN's bits open: so these are of
// integers. A number is its bits, in 4 or 8 bytes; a finite one is worked on as sign, exponent, and a significand of 64 bits
// whose highest is set, the lowest being set, too, when anything below it was lost.

import { upperProduct } from './bmi';
import { MXCSR } from './layout';

// MXCSR
export const INVALID: u32 = 1;
const DENORMAL: u32 = 2;
const DIVIDE_BY_ZERO: u32 = 4;
const OVERFLOW: u32 = 8;
const UNDERFLOW: u32 = 16;
const PRECISION: u32 = 32;
const DENORMALS_ARE_ZEROS: u32 = 0x40;
const UNDERFLOW_MASK: u32 = 0x800;
const FLUSH_TO_ZERO: u32 = 0x8000;

// Rounding, as MXCSR and ROUNDPS number it.
const NEAREST: u32 = 0;
const DOWN: u32 = 1;
const UP: u32 = 2;
export const TRUNCATE: u32 = 3;

/** The exceptions of the instruction so far. */
let raised: u32 = 0;
export function beginExceptions(): void {
  raised = 0;
}
export function raise(exceptions: u32): void {
  raised |= exceptions;
}
export function exceptions(): u32 {
  return raised;
}
export function roundingOfMxcsr(): u32 {
  return (load<u32>(MXCSR) >> 13) & 3;
}

// What a size of 4 or 8 bytes has.
// @ts-expect-error: decorator
@inline function fractionBits(size: u32): u32 {
  return size == 8 ? 52 : 23;
}
// @ts-expect-error: decorator
@inline function mostExponent(size: u32): i32 {
  return size == 8 ? 2047 : 255;
}
// @ts-expect-error: decorator
@inline function bias(size: u32): i32 {
  return size == 8 ? 1023 : 127;
}
// @ts-expect-error: decorator
@inline function signBit(size: u32): u64 {
  return (<u64>1) << (8 * size - 1);
}
// @ts-expect-error: decorator
@inline function fractionMask(size: u32): u64 {
  return ((<u64>1) << fractionBits(size)) - 1;
}
function infinity(size: u32): u64 {
  return (<u64>mostExponent(size)) << fractionBits(size);
}
/** The QNaN floating-point indefinite. */
function indefinite(size: u32): u64 {
  return signBit(size) | infinity(size) | ((<u64>1) << (fractionBits(size) - 1));
}

export function isNan(x: u64, size: u32): bool {
  return (x & (signBit(size) - 1)) > infinity(size);
}
export function isSignaling(x: u64, size: u32): bool {
  return isNan(x, size) && (x & ((<u64>1) << (fractionBits(size) - 1))) == 0;
}
function quiet(x: u64, size: u32): u64 {
  return x | ((<u64>1) << (fractionBits(size) - 1));
}
function isInfinite(x: u64, size: u32): bool {
  return (x & (signBit(size) - 1)) == infinity(size);
}
function isZeroNumber(x: u64, size: u32): bool {
  return (x & (signBit(size) - 1)) == 0;
}
function isNegative(x: u64, size: u32): bool {
  return (x & signBit(size)) != 0;
}
function isDenormal(x: u64, size: u32): bool {
  return (x & infinity(size)) == 0 && !isZeroNumber(x, size);
}

/** An operand as it counts: with DAZ a denormal is a zero. */
export function operand(x: u64, size: u32): u64 {
  return isDenormal(x, size) && (load<u32>(MXCSR) & DENORMALS_ARE_ZEROS) != 0 ? x & signBit(size) : x;
}
export function noteDenormal(x: u64, size: u32): void {
  if (isDenormal(x, size)) raised |= DENORMAL;
}

/** The exponent and the significand of what is finite and not zero. */
function exponentOf(x: u64, size: u32): i32 {
  const exponent = <i32>((x >> fractionBits(size)) & mostExponent(size));
  if (exponent != 0) return exponent - bias(size);
  return 1 - bias(size) - <i32>(clz<u64>(x & fractionMask(size)) - (63 - fractionBits(size)));
}
function significandOf(x: u64, size: u32): u64 {
  const fraction = x & fractionMask(size);
  if ((x & infinity(size)) == 0) return fraction << clz<u64>(fraction);
  return (fraction | (fractionMask(size) + 1)) << (63 - fractionBits(size));
}

/** Shifted right; what is lost sets the lowest bit. */
function shiftedJamming(x: u64, by: i32): u64 {
  if (by == 0) return x;
  if (by > 63) return x != 0 ? 1 : 0;
  return (x >> by) | (x << (64 - by) != 0 ? 1 : 0);
}

/** Whether the lowest bit that stays goes up by one, when `lost` of `bits` bits is cut off. */
function roundsUp(value: u64, lost: u64, bits: u32, negative: bool, rounding: u32): bool {
  if (lost == 0) return false;
  if (rounding == NEAREST) {
    const half = (<u64>1) << (bits - 1);
    return lost > half || (lost == half && (value & 1) != 0);
  }
  return rounding == (negative ? DOWN : UP);
}

/** The number nearest to a significand and exponent, as the rounding has it. */
function rounded(negative: bool, exponent: i32, significand: u64, size: u32, rounding: u32): u64 {
  const cut = 63 - fractionBits(size);
  const cutMask = ((<u64>1) << cut) - 1;
  const sign: u64 = negative ? signBit(size) : 0;
  let biased = exponent + bias(size);
  let value = significand;
  if (biased <= 0) {
    const carries = (value >> cut) == ((fractionMask(size) << 1) | 1) && roundsUp(value >> cut, value & cutMask, cut, negative, rounding);
    const tiny = biased < 0 || !carries;
    value = shiftedJamming(value, 1 - biased);
    biased = 0;
    const inexact = (value & cutMask) != 0;
    const mxcsr = load<u32>(MXCSR);
    if (tiny && (mxcsr & UNDERFLOW_MASK) == 0) raised |= UNDERFLOW;
    if (tiny && (mxcsr & UNDERFLOW_MASK) != 0 && (mxcsr & FLUSH_TO_ZERO) != 0) {
      raised |= UNDERFLOW | PRECISION;
      return sign;
    }
    if (tiny && inexact) raised |= UNDERFLOW;
  }
  const lost = value & cutMask;
  let kept = value >> cut;
  if (lost != 0) raised |= PRECISION;
  if (roundsUp(kept, lost, cut, negative, rounding)) kept++;
  // The leading one, where there is one, adds one to the exponent; so does a carry.
  const bits = ((<u64>(biased > 0 ? biased - 1 : 0)) << fractionBits(size)) + kept;
  if (bits < infinity(size)) return sign | bits;
  raised |= OVERFLOW | PRECISION;
  const away = rounding == NEAREST || rounding == (negative ? DOWN : UP);
  return sign | (away ? infinity(size) : infinity(size) - 1);
}

/** Of two operands of which one is a NaN: the first that is one, made quiet. */
function nanOf(x: u64, y: u64, size: u32): u64 {
  if (isSignaling(x, size) || isSignaling(y, size)) raised |= INVALID;
  return quiet(isNan(x, size) ? x : y, size);
}
function invalid(size: u32): u64 {
  raised |= INVALID;
  return indefinite(size);
}

export function added(a: u64, b: u64, size: u32, rounding: u32): u64 {
  const x = operand(a, size);
  const y = operand(b, size);
  if (isNan(x, size) || isNan(y, size)) return nanOf(x, y, size);
  const opposed = ((x ^ y) & signBit(size)) != 0;
  if (isInfinite(x, size)) return opposed && isInfinite(y, size) ? invalid(size) : infiniteWith(x, y, size);
  if (isInfinite(y, size)) return infiniteWith(y, x, size);
  noteDenormal(x, size);
  noteDenormal(y, size);
  if (isZeroNumber(x, size) && isZeroNumber(y, size)) return opposed ? zeroOfCancelling(size, rounding) : x;
  if (isZeroNumber(x, size)) return unchanged(y, size, rounding);
  if (isZeroNumber(y, size)) return unchanged(x, size, rounding);
  return addedFinite(x, y, opposed, size, rounding);
}
/** With a denormal operand beside it, that is told. */
function infiniteWith(x: u64, other: u64, size: u32): u64 {
  noteDenormal(other, size);
  return x;
}
function zeroOfCancelling(size: u32, rounding: u32): u64 {
  return rounding == DOWN ? signBit(size) : 0;
}
/** A result that is an operand: as if computed, for it may be tiny. */
function unchanged(x: u64, size: u32, rounding: u32): u64 {
  return rounded(isNegative(x, size), exponentOf(x, size), significandOf(x, size), size, rounding);
}

function addedFinite(x: u64, y: u64, opposed: bool, size: u32, rounding: u32): u64 {
  const magnitude = signBit(size) - 1;
  const swap = (x & magnitude) < (y & magnitude);
  const big = swap ? y : x;
  const small = swap ? x : y;
  const negative = isNegative(big, size);
  const exponent = exponentOf(big, size);
  const first = significandOf(big, size) >> 1; // room for a carry; the lowest bits are 0
  const second = shiftedJamming(significandOf(small, size) >> 1, exponent - exponentOf(small, size));
  const sum = opposed ? first - second : first + second;
  if (sum == 0) return zeroOfCancelling(size, rounding);
  const up = <i32>clz<u64>(sum);
  return rounded(negative, exponent + 1 - up, sum << up, size, rounding);
}

export function multiplied(a: u64, b: u64, size: u32, rounding: u32): u64 {
  const x = operand(a, size);
  const y = operand(b, size);
  if (isNan(x, size) || isNan(y, size)) return nanOf(x, y, size);
  const sign = (x ^ y) & signBit(size);
  if (isInfinite(x, size) || isInfinite(y, size)) {
    if (isZeroNumber(x, size) || isZeroNumber(y, size)) return invalid(size);
    noteDenormal(x, size);
    noteDenormal(y, size);
    return sign | infinity(size);
  }
  noteDenormal(x, size);
  noteDenormal(y, size);
  if (isZeroNumber(x, size) || isZeroNumber(y, size)) return sign;
  const first = significandOf(x, size);
  const second = significandOf(y, size);
  let product = upperProduct(first, second) | (first * second != 0 ? 1 : 0);
  let exponent = exponentOf(x, size) + exponentOf(y, size) + 1;
  if (<i64>product >= 0) {
    // The bit that comes in from below is 0: both factors end in zeros.
    product <<= 1;
    exponent--;
  }
  return rounded(sign != 0, exponent, product, size, rounding);
}

export function divided(a: u64, b: u64, size: u32, rounding: u32): u64 {
  const x = operand(a, size);
  const y = operand(b, size);
  if (isNan(x, size) || isNan(y, size)) return nanOf(x, y, size);
  const sign = (x ^ y) & signBit(size);
  if (isInfinite(x, size)) return isInfinite(y, size) ? invalid(size) : infiniteWith(sign | infinity(size), y, size);
  if (isInfinite(y, size)) {
    noteDenormal(x, size);
    return sign;
  }
  if (isZeroNumber(y, size)) {
    if (isZeroNumber(x, size)) return invalid(size);
    raised |= DIVIDE_BY_ZERO;
    return sign | infinity(size);
  }
  noteDenormal(x, size);
  noteDenormal(y, size);
  if (isZeroNumber(x, size)) return sign;
  return quotient(sign != 0, x, y, size, rounding);
}
function quotient(negative: bool, x: u64, y: u64, size: u32, rounding: u32): u64 {
  const divisor = significandOf(y, size);
  let exponent = exponentOf(x, size) - exponentOf(y, size);
  let rest = significandOf(x, size);
  let result: u64 = 0;
  if (rest < divisor) {
    exponent--;
    // Twice the rest, which has 65 bits, is more than the divisor.
    result = 1;
    rest = (rest << 1) - divisor;
  } else {
    result = 1;
    rest -= divisor;
  }
  for (let i = 0; i < 63; i++) {
    const carry = <i64>rest < 0;
    rest <<= 1;
    result <<= 1;
    if (carry || rest >= divisor) {
      rest -= divisor;
      result |= 1;
    }
  }
  return rounded(negative, exponent, result | (rest != 0 ? 1 : 0), size, rounding);
}

export function squareRoot(a: u64, size: u32, rounding: u32): u64 {
  const x = operand(a, size);
  if (isNan(x, size)) return nanOf(x, x, size);
  if (isZeroNumber(x, size)) return x;
  if (isNegative(x, size)) return invalid(size);
  if (isInfinite(x, size)) return x;
  noteDenormal(x, size);
  const exponent = exponentOf(x, size);
  const odd = (exponent & 1) != 0;
  // Two bits before the point; the lowest of the significand is 0.
  let digits = odd ? significandOf(x, size) : significandOf(x, size) >> 1;
  let root: u64 = 0;
  let rest: u64 = 0;
  for (let i = 0; i < 58; i++) {
    rest = (rest << 2) | (digits >> 62);
    digits <<= 2;
    const next = (root << 2) | 1;
    root <<= 1;
    if (rest >= next) {
      rest -= next;
      root |= 1;
    }
  }
  return rounded(false, (exponent - <i32>odd) >> 1, (root << 6) | (rest != 0 ? 1 : 0), size, rounding);
}

/** RCPPS, RSQRTPS: exact to 12 bits, which is what the manual asks for; denormals are zeros, and nothing is told. */
export function reciprocal(a: u64, ofRoot: bool): u64 {
  const x = isDenormal(a, 4) ? a & signBit(4) : a;
  if (isNan(x, 4)) return quiet(x, 4);
  const sign = x & signBit(4);
  if (isZeroNumber(x, 4)) return sign | infinity(4);
  if (ofRoot && sign != 0) return indefinite(4);
  if (isInfinite(x, 4)) return sign;
  const before = raised;
  const one = (<u64>bias(4)) << fractionBits(4);
  const result = divided(one, ofRoot ? squareRoot(x, 4, NEAREST) : x, 4, NEAREST);
  raised = before;
  return isDenormal(result, 4) ? sign : result & ~(<u64>0x7ff);
}

/** MINPS, MAXPS: the second where either is a NaN, or both are zeros */
export function smaller(a: u64, b: u64, size: u32, greater: bool): u64 {
  const x = operand(a, size);
  const y = operand(b, size);
  if (isNan(x, size) || isNan(y, size)) {
    raised |= INVALID;
    return y;
  }
  noteDenormal(x, size);
  noteDenormal(y, size);
  return (greater ? isLess(y, x, size) : isLess(x, y, size)) ? x : y;
}

/** Of numbers that are no NaN. */
export function isLess(x: u64, y: u64, size: u32): bool {
  if (isZeroNumber(x, size) && isZeroNumber(y, size)) return false;
  if (isNegative(x, size) != isNegative(y, size)) return isNegative(x, size);
  return isNegative(x, size) ? x > y : x < y;
}
export function isEqual(x: u64, y: u64, size: u32): bool {
  return x == y || (isZeroNumber(x, size) && isZeroNumber(y, size));
}

// Conversions

/** A number of another size. */
export function resized(a: u64, size: u32, to: u32, rounding: u32): u64 {
  const x = operand(a, size);
  const negative = isNegative(x, size);
  const sign: u64 = negative ? signBit(to) : 0;
  if (isNan(x, size)) {
    if (isSignaling(x, size)) raised |= INVALID;
    const fraction = (x & fractionMask(size)) << (64 - fractionBits(size));
    return quiet(sign | infinity(to) | (fraction >> (64 - fractionBits(to))), to);
  }
  if (isInfinite(x, size)) return sign | infinity(to);
  if (isZeroNumber(x, size)) return sign;
  noteDenormal(x, size);
  return rounded(negative, exponentOf(x, size), significandOf(x, size), to, rounding);
}

export function fromInteger(value: i64, size: u32, rounding: u32): u64 {
  if (value == 0) return 0;
  const magnitude = value < 0 ? 0 - <u64>value : <u64>value;
  const up = <i32>clz<u64>(magnitude);
  return rounded(value < 0, 63 - up, magnitude << up, size, rounding);
}

/** An integer of so many bytes; what has no place in it, and a NaN, is the integer indefinite. */
export function toInteger(a: u64, size: u32, bytes: u32, rounding: u32): u64 {
  const x = operand(a, size);
  const none = (<u64>1) << (8 * bytes - 1);
  if (isZeroNumber(x, size)) return 0;
  const negative = isNegative(x, size);
  const exponent = isNan(x, size) || isInfinite(x, size) ? 64 : exponentOf(x, size);
  if (exponent > 63) {
    raised |= INVALID;
    return none;
  }
  const before = raised;
  const magnitude = wholeOf(negative, exponent, significandOf(x, size), rounding);
  if (magnitude > (negative ? none : none - 1)) {
    raised = before | INVALID;
    return none;
  }
  return negative ? 0 - magnitude : magnitude;
}

/** The integer nearest to a significand and exponent below 64. */
function wholeOf(negative: bool, exponent: i32, significand: u64, rounding: u32): u64 {
  if (exponent == 63) return significand;
  if (exponent < -1) {
    raised |= PRECISION;
    return rounding == (negative ? DOWN : UP) ? 1 : 0;
  }
  const cut = <u32>(63 - exponent);
  const whole: u64 = cut > 63 ? 0 : significand >> cut;
  const lost: u64 = cut > 63 ? significand : significand & (((<u64>1) << cut) - 1);
  if (lost != 0) raised |= PRECISION;
  return whole + <u64>roundsUp(whole, lost, cut, negative, rounding);
}

/** ROUNDPS: to an integer that stays a number */
export function roundedWhole(a: u64, size: u32, rounding: u32, tells: bool): u64 {
  const x = operand(a, size);
  if (isNan(x, size)) return nanOf(x, x, size);
  if (isInfinite(x, size) || isZeroNumber(x, size)) return x;
  const exponent = exponentOf(x, size);
  if (exponent >= <i32>fractionBits(size)) return x;
  const before = raised;
  const negative = isNegative(x, size);
  const whole = wholeOf(negative, exponent, significandOf(x, size), rounding);
  if (!tells) raised = before;
  return (negative ? signBit(size) : 0) | fromInteger(<i64>whole, size, rounding);
}
