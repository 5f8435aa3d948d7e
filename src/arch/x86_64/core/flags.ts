// The six arithmetic flags, kept as what they are computed from until somebody asks.
//
//   ZF   FLAG_ZERO is 0
//   SF   bit 63 of FLAG_RESULT
//   PF   the low byte of FLAG_RESULT has an even number of ones
//   CF   bit 63 of FLAG_CARRIES: the carry (or borrow) out of the operand's highest bit
//   OF   bit 63 of FLAG_CARRIES differs from bit 62: the carry into the highest bit
//   AF   bit 4 of FLAG_AUX
//
// A result of fewer than 64 bits is sign-extended, carries are shifted up to bit 63.

import { FLAG_AUX, FLAG_CARRIES, FLAG_RESULT, FLAG_ZERO, RFLAGS } from './layout';

export const CF: u64 = 0x001;
export const PF: u64 = 0x004;
export const AF: u64 = 0x010;
export const ZF: u64 = 0x040;
export const SF: u64 = 0x080;
export const TF: u64 = 0x100;
export const IF: u64 = 0x200;
export const DF: u64 = 0x400;
export const OF: u64 = 0x800;
export const NT: u64 = 0x4000;
export const RF: u64 = 0x10000;
export const AC: u64 = 0x40000;
export const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;

// @ts-expect-error: decorator
@inline export function isZero(): bool {
  return load<u64>(FLAG_ZERO) == 0;
}
// @ts-expect-error: decorator
@inline export function isSign(): bool {
  return load<i64>(FLAG_RESULT) < 0;
}
// @ts-expect-error: decorator
@inline export function isCarry(): bool {
  return load<i64>(FLAG_CARRIES) < 0;
}
// @ts-expect-error: decorator
@inline export function isOverflow(): bool {
  const carries = load<i64>(FLAG_CARRIES);
  return (carries ^ (carries << 1)) < 0;
}
// @ts-expect-error: decorator
@inline export function isParity(): bool {
  return (popcnt<u32>(load<u8>(FLAG_RESULT)) & 1) == 0;
}
// @ts-expect-error: decorator
@inline function isAux(): bool {
  return (load<u32>(FLAG_AUX) & 0x10) != 0;
}

/** A value of the size T with its highest bit at bit 63. */
// @ts-expect-error: decorator
@inline function toTop<T>(value: T): u64 {
  return (<u64>value) << (64 - 8 * sizeof<T>());
}

/** A value of the size T with its sign above it. */
// @ts-expect-error: decorator
@inline export function signed<T>(value: T): i64 {
  if (sizeof<T>() == 1) return <i64>(<i8>value);
  if (sizeof<T>() == 2) return <i64>(<i16>value);
  if (sizeof<T>() == 4) return <i64>(<i32>value);
  return <i64>value;
}

/** SF, ZF, PF. */
// @ts-expect-error: decorator
@inline export function setResult<T>(result: T): void {
  const r = signed<T>(result);
  store<i64>(FLAG_RESULT, r);
  store<i64>(FLAG_ZERO, r);
}

/** All six, of result = a + b (+ carry). */
// @ts-expect-error: decorator
@inline export function setAdd<T>(a: T, b: T, result: T): void {
  setResult<T>(result);
  store<u64>(FLAG_CARRIES, toTop<T>(<T>((a & b) | ((a | b) & ~result))));
  store<u32>(FLAG_AUX, <u32>(a ^ b ^ result));
}

/** All six, of result = a - b (- borrow). */
// @ts-expect-error: decorator
@inline export function setSub<T>(a: T, b: T, result: T): void {
  setResult<T>(result);
  store<u64>(FLAG_CARRIES, toTop<T>(<T>((~a & b) | ((~a | b) & result))));
  store<u32>(FLAG_AUX, <u32>(a ^ b ^ result));
}

/** All six, of and, or, xor, test: CF, OF and AF are 0. */
// @ts-expect-error: decorator
@inline export function setLogic<T>(result: T): void {
  setResult<T>(result);
  store<u64>(FLAG_CARRIES, 0);
  store<u32>(FLAG_AUX, 0);
}

/** CF and OF by themselves. */
// @ts-expect-error: decorator
@inline export function setCarryOverflow(carry: bool, overflow: bool): void {
  store<u64>(FLAG_CARRIES, ((<u64>carry) << 63) | ((<u64>(carry != overflow)) << 62));
}

/** CF alone. */
export function setCarry(carry: bool): void {
  setCarryOverflow(carry, isOverflow());
}

/** The flags as RFLAGS has them. */
export function readFlags(): u64 {
  let flags = load<u64>(RFLAGS) & ~ARITHMETIC;
  if (isCarry()) flags |= CF;
  if (isParity()) flags |= PF;
  if (isAux()) flags |= AF;
  if (isZero()) flags |= ZF;
  if (isSign()) flags |= SF;
  if (isOverflow()) flags |= OF;
  return flags;
}

/** Takes all of RFLAGS as it is. */
export function writeFlags(flags: u64): void {
  store<u64>(RFLAGS, flags);
  store<u64>(FLAG_ZERO, (flags & ZF) ^ ZF);
  // A result of the wanted sign whose low byte has the wanted parity: 0 has an even number of ones, 1 an odd one.
  store<u64>(FLAG_RESULT, ((flags & SF) << 56) | (flags & PF ? 0 : 1));
  setCarryOverflow((flags & CF) != 0, (flags & OF) != 0);
  store<u32>(FLAG_AUX, <u32>(flags & AF));
}

/** A condition by its number in the manual: o no b ae e ne be a s ns p np l ge le g. */
// @ts-expect-error: decorator
@inline export function condition(code: u32): bool {
  switch (code >> 1) {
    case 0:
      return isOverflow() != <bool>(code & 1);
    case 1:
      return isCarry() != <bool>(code & 1);
    case 2:
      return isZero() != <bool>(code & 1);
    case 3:
      return (isCarry() || isZero()) != <bool>(code & 1);
    case 4:
      return isSign() != <bool>(code & 1);
    case 5:
      return isParity() != <bool>(code & 1);
    case 6:
      return (isSign() != isOverflow()) != <bool>(code & 1);
    default:
      return (isZero() || isSign() != isOverflow()) != <bool>(code & 1);
  }
}
