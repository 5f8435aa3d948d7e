// SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD. Intel SDM volume 2.
//
// A count of 0 changes no flag. OF is defined for counts of 1 alone; for others it is what processors make of it: that of the
// last single step.

import { isCarry, setCarryOverflow, setResult, signed } from './flags';
import { FLAG_AUX } from './layout';
import { a, b, c, get, set } from './state';

/** The count as the processor takes it: modulo 32, of 64-bit operands 64. */
// @ts-expect-error: decorator
@inline function countOf<T>(cell: u32): u32 {
  return load<u8>(cell) & (sizeof<T>() == 8 ? 63 : 31);
}

// @ts-expect-error: decorator
@inline function bits<T>(): u32 {
  return 8 * sizeof<T>();
}

// @ts-expect-error: decorator
@inline function setShift<T>(result: T, carry: bool, overflow: bool): void {
  setResult<T>(result);
  setCarryOverflow(carry, overflow);
  store<u32>(FLAG_AUX, 0);
}

/** SHL: a <- a << b */
// @ts-expect-error: decorator
@inline export function shl<T>(op: u32): void {
  const count = countOf<T>(b(op));
  if (count == 0) {
    set<T>(a(op), get<T>(a(op)));
    return;
  }
  const x = <u64>get<T>(a(op));
  const result = <T>(x << count);
  const carry = count <= bits<T>() && ((x >> (bits<T>() - count)) & 1) != 0;
  set<T>(a(op), result);
  setShift<T>(result, carry, carry != signed<T>(result) < 0);
}

/** SHR: a <- a >> b, zeros from above */
// @ts-expect-error: decorator
@inline export function shr<T>(op: u32): void {
  const count = countOf<T>(b(op));
  if (count == 0) {
    set<T>(a(op), get<T>(a(op)));
    return;
  }
  const x = <u64>get<T>(a(op));
  const before = x >> (count - 1);
  const result = <T>(before >> 1);
  set<T>(a(op), result);
  setShift<T>(result, (before & 1) != 0, ((before >> (bits<T>() - 1)) & 1) != 0);
}

/** SAR: a <- a >> b, the sign from above */
// @ts-expect-error: decorator
@inline export function sar<T>(op: u32): void {
  const count = countOf<T>(b(op));
  if (count == 0) {
    set<T>(a(op), get<T>(a(op)));
    return;
  }
  const before = signed<T>(get<T>(a(op))) >> (count - 1);
  const result = <T>(before >> 1);
  set<T>(a(op), result);
  setShift<T>(result, (before & 1) != 0, false);
}

/** ROL: a rotated to the left by b; CF is the bit that came round */
export function rol<T>(op: u32): void {
  const count = countOf<T>(b(op));
  const x = <u64>get<T>(a(op));
  const by = count & (bits<T>() - 1);
  const result = by == 0 ? <T>x : <T>((x << by) | (x >> (bits<T>() - by)));
  set<T>(a(op), result);
  if (count == 0) return;
  const carry = (<u64>result & 1) != 0;
  setCarryOverflow(carry, carry != signed<T>(result) < 0);
}

/** ROR: a rotated to the right by b; CF is the bit that came round */
export function ror<T>(op: u32): void {
  const count = countOf<T>(b(op));
  const x = <u64>get<T>(a(op));
  const by = count & (bits<T>() - 1);
  const result = by == 0 ? <T>x : <T>((x >> by) | (x << (bits<T>() - by)));
  set<T>(a(op), result);
  if (count == 0) return;
  const carry = signed<T>(result) < 0;
  setCarryOverflow(carry, carry != ((<u64>result >> (bits<T>() - 2)) & 1) != 0);
}

/** RCL: a and CF rotated to the left by b */
export function rcl<T>(op: u32): void {
  const masked = countOf<T>(b(op));
  const count = masked % (bits<T>() + 1);
  let x = <u64>get<T>(a(op));
  let carry = isCarry();
  for (let i: u32 = 0; i < count; i++) {
    const out = ((x >> (bits<T>() - 1)) & 1) != 0;
    x = (x << 1) | <u64>carry;
    carry = out;
  }
  set<T>(a(op), <T>x);
  if (masked != 0) setCarryOverflow(carry, carry != signed<T>(<T>x) < 0);
}

/** RCR: a and CF rotated to the right by b */
export function rcr<T>(op: u32): void {
  const masked = countOf<T>(b(op));
  const count = masked % (bits<T>() + 1);
  let x = <u64>get<T>(a(op));
  let carry = isCarry();
  for (let i: u32 = 0; i < count; i++) {
    const out = (x & 1) != 0;
    x = (x >> 1) | ((<u64>carry) << (bits<T>() - 1));
    carry = out;
  }
  set<T>(a(op), <T>x);
  if (masked != 0)
    setCarryOverflow(carry, (((x >> (bits<T>() - 1)) ^ (x >> (bits<T>() - 2))) & 1) != 0);
}

/** a shifted by c, with bits of b behind it. To the left: from the top of b; to the right: from its bottom */
// @ts-expect-error: decorator
@inline function doubleShift<T>(op: u32, left: bool): void {
  const count = countOf<T>(c(op));
  const x = <u64>get<T>(a(op));
  if (count == 0) {
    set<T>(a(op), <T>x);
    return;
  }
  // 16 bits by more than 16: undefined; processors go on with b's bits, then a's again
  const beyond = count > bits<T>();
  const by = beyond ? count - bits<T>() : count;
  const y = <u64>get<T>(b(op));
  const first = beyond ? y : x;
  const then = beyond ? x : y;
  let result: T;
  if (by == bits<T>()) result = <T>then;
  else if (left) result = <T>((first << by) | (then >> (bits<T>() - by)));
  else result = <T>((first >> by) | (then << (bits<T>() - by)));
  const carry = ((first >> (left ? bits<T>() - by : by - 1)) & 1) != 0;
  set<T>(a(op), result);
  setShift<T>(result, carry, (<i64>(x << (64 - bits<T>())) < 0) != signed<T>(result) < 0);
}

/** SHLD */
export function shld<T>(op: u32): void {
  doubleShift<T>(op, true);
}

/** SHRD */
export function shrd<T>(op: u32): void {
  doubleShift<T>(op, false);
}
