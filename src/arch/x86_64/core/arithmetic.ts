// ADD, ADC, SUB, SBB, CMP, INC, DEC, NEG, XADD, CMPXCHG, MUL, IMUL, DIV, IDIV. Intel SDM volume 2.

import { isCarry, isOverflow, setAdd, setCarryOverflow, setResult, setSub, signed } from './flags';
import { FLAG_AUX } from './layout';
import { a, b, c, get, RAX, RDX, set } from './state';

/** ADD: a <- a + b */
// @ts-expect-error: decorator
@inline export function add<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  const sum = <T>(x + y);
  setAdd<T>(x, y, sum);
  set<T>(a(op), sum);
}

/** ADC: a <- a + b + CF */
// @ts-expect-error: decorator
@inline export function adc<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  const sum = <T>(x + y + <T>isCarry());
  setAdd<T>(x, y, sum);
  set<T>(a(op), sum);
}

/** SUB: a <- a - b */
// @ts-expect-error: decorator
@inline export function sub<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  const difference = <T>(x - y);
  setSub<T>(x, y, difference);
  set<T>(a(op), difference);
}

/** SBB: a <- a - (b + CF) */
// @ts-expect-error: decorator
@inline export function sbb<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  const difference = <T>(x - y - <T>isCarry());
  setSub<T>(x, y, difference);
  set<T>(a(op), difference);
}

/** CMP: flags of a - b */
// @ts-expect-error: decorator
@inline export function cmp<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  setSub<T>(x, y, <T>(x - y));
}

/** INC: a <- a + 1; CF stays */
// @ts-expect-error: decorator
@inline export function inc<T>(op: u32): void {
  const carry = isCarry();
  const x = get<T>(a(op));
  const sum = <T>(x + 1);
  setAdd<T>(x, 1, sum);
  setCarryOverflow(carry, isOverflow());
  set<T>(a(op), sum);
}

/** DEC: a <- a - 1; CF stays */
// @ts-expect-error: decorator
@inline export function dec<T>(op: u32): void {
  const carry = isCarry();
  const x = get<T>(a(op));
  const difference = <T>(x - 1);
  setSub<T>(x, 1, difference);
  setCarryOverflow(carry, isOverflow());
  set<T>(a(op), difference);
}

/** NEG: a <- 0 - a */
// @ts-expect-error: decorator
@inline export function neg<T>(op: u32): void {
  const x = get<T>(a(op));
  const difference = <T>(0 - x);
  setSub<T>(0, x, difference);
  set<T>(a(op), difference);
}

/** XADD: a <- a + b, b <- a */
// @ts-expect-error: decorator
@inline export function xadd<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  const sum = <T>(x + y);
  setAdd<T>(x, y, sum);
  set<T>(b(op), x);
  set<T>(a(op), sum);
}

/** CMPXCHG: flags of rax - a; equal: a <- b, else rax <- a */
// @ts-expect-error: decorator
@inline export function cmpxchg<T>(op: u32): void {
  const accumulator = get<T>(RAX);
  const x = get<T>(a(op));
  setSub<T>(accumulator, x, <T>(accumulator - x));
  if (accumulator == x) set<T>(a(op), get<T>(b(op)));
  else set<T>(RAX, x);
}

/** The upper half of a product of 64-bit numbers without sign. */
function highProduct(x: u64, y: u64): u64 {
  const xl = x & 0xffffffff;
  const xh = x >> 32;
  const yl = y & 0xffffffff;
  const yh = y >> 32;
  const middle = xh * yl + ((xl * yl) >> 32);
  const low = xl * yh + (middle & 0xffffffff);
  return xh * yh + (middle >> 32) + (low >> 32);
}

function highSignedProduct(x: i64, y: i64): i64 {
  let high = <i64>highProduct(<u64>x, <u64>y);
  if (x < 0) high -= y;
  if (y < 0) high -= x;
  return high;
}

/** CF and OF tell that the upper half counts; the others are undefined: those of the lower half, as processors have it. */
// @ts-expect-error: decorator
@inline function setProduct<T>(low: T, overflow: bool): void {
  setResult<T>(low);
  setCarryOverflow(overflow, overflow);
  store<u32>(FLAG_AUX, 0);
}

/** MUL: rdx:rax <- rax * b (8 bits: ax <- al * b) */
export function mul<T>(op: u32): void {
  const x = get<T>(RAX);
  const y = get<T>(b(op));
  if (sizeof<T>() == 8) {
    const low = <u64>x * <u64>y;
    const high = highProduct(<u64>x, <u64>y);
    store<u64>(RAX, low);
    store<u64>(RDX, high);
    setProduct<u64>(low, high != 0);
    return;
  }
  storeProduct<T>((<u64>x) * (<u64>y));
}

/** IMUL with one operand: rdx:rax <- rax * b, signed */
export function imul1<T>(op: u32): void {
  const x = signed<T>(get<T>(RAX));
  const y = signed<T>(get<T>(b(op)));
  if (sizeof<T>() == 8) {
    const low = x * y;
    const high = highSignedProduct(x, y);
    store<i64>(RAX, low);
    store<i64>(RDX, high);
    setProduct<u64>(<u64>low, high != low >> 63);
    return;
  }
  const product = x * y;
  storeProduct<T>(<u64>product);
  const overflow = product != signed<T>(<T>product);
  setProduct<T>(<T>product, overflow);
}

function storeProduct<T>(product: u64): void {
  if (sizeof<T>() == 1) store<u16>(RAX, <u16>product);
  else {
    set<T>(RAX, <T>product);
    set<T>(RDX, <T>(product >> (8 * sizeof<T>())));
  }
  setProduct<T>(<T>product, product >> (8 * sizeof<T>()) != 0);
}

/** IMUL with two or three operands: a <- b * c */
// @ts-expect-error: decorator
@inline export function imul<T>(op: u32): void {
  const x = signed<T>(get<T>(b(op)));
  const y = signed<T>(get<T>(c(op)));
  const product = x * y;
  if (sizeof<T>() == 8) setProduct<u64>(<u64>product, highSignedProduct(x, y) != product >> 63);
  else setProduct<T>(<T>product, product != signed<T>(<T>product));
  set<T>(a(op), <T>product);
}

/** DIV: rax <- rdx:rax / b, rdx <- the remainder. @returns false for #DE: by zero, or the quotient does not fit */
export function div<T>(op: u32): bool {
  const divisor = <u64>get<T>(b(op));
  if (divisor == 0) return false;
  if (sizeof<T>() == 8) return div128(divisor);
  const bits = 8 * sizeof<T>();
  const dividend =
    sizeof<T>() == 1 ? <u64>load<u16>(RAX) : ((<u64>get<T>(RDX)) << bits) | <u64>get<T>(RAX);
  const quotient = dividend / divisor;
  if (quotient >> bits != 0) return false;
  storeQuotient<T>(<T>quotient, <T>(dividend % divisor));
  return true;
}

/** IDIV: the same, signed */
export function idiv<T>(op: u32): bool {
  const divisor = signed<T>(get<T>(b(op)));
  if (divisor == 0) return false;
  if (sizeof<T>() == 8) return idiv128(divisor);
  const bits = 8 * sizeof<T>();
  let dividend: i64;
  if (sizeof<T>() == 1) dividend = <i64>load<i16>(RAX);
  else dividend = (signed<T>(get<T>(RDX)) << bits) | <i64>(<u64>get<T>(RAX));
  if (divisor == -1 && dividend == i64.MIN_VALUE) return false;
  const quotient = dividend / divisor;
  if (quotient != signed<T>(<T>quotient)) return false;
  storeQuotient<T>(<T>quotient, <T>(dividend % divisor));
  return true;
}

function storeQuotient<T>(quotient: T, remainder: T): void {
  if (sizeof<T>() == 1) store<u16>(RAX, ((<u16>(<u8>remainder)) << 8) | <u16>(<u8>quotient));
  else {
    set<T>(RAX, quotient);
    set<T>(RDX, remainder);
  }
}

let remainder128: u64 = 0;

/** high:low / divisor, for high < divisor; bit by bit. */
function divide128(high: u64, low: u64, divisor: u64): u64 {
  let quotient: u64 = 0;
  for (let i = 0; i < 64; i++) {
    const carry = high >> 63;
    high = (high << 1) | (low >> 63);
    low <<= 1;
    quotient <<= 1;
    if (carry != 0 || high >= divisor) {
      high -= divisor;
      quotient |= 1;
    }
  }
  remainder128 = high;
  return quotient;
}

function div128(divisor: u64): bool {
  const high = load<u64>(RDX);
  const low = load<u64>(RAX);
  if (high >= divisor) return false;
  if (high == 0) {
    store<u64>(RAX, low / divisor);
    store<u64>(RDX, low % divisor);
    return true;
  }
  store<u64>(RAX, divide128(high, low, divisor));
  store<u64>(RDX, remainder128);
  return true;
}

function idiv128(divisor: i64): bool {
  let high = load<u64>(RDX);
  let low = load<u64>(RAX);
  const negative = <i64>high < 0;
  if (negative) {
    low = 0 - low;
    high = ~high + (low == 0 ? 1 : 0);
  }
  const by = <u64>(divisor < 0 ? 0 - divisor : divisor);
  if (high >= by) return false;
  const quotient = divide128(high, low, by);
  const minus = negative != divisor < 0;
  // The magnitude of a quotient is at most 2^63 - 1, or 2^63 below zero.
  if (quotient > (minus ? 0x8000000000000000 : 0x7fffffffffffffff)) return false;
  store<u64>(RAX, minus ? 0 - quotient : quotient);
  store<u64>(RDX, negative ? 0 - remainder128 : remainder128);
  return true;
}
