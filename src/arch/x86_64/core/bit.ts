// BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, BSWAP. Intel SDM volume 2.

import { setCarry, setCarryOverflow, setLogic, setResult } from './flags';
import { FLAG_AUX, FLAG_RESULT } from './layout';
import { a, b, get, imm, set } from './state';

// @ts-expect-error: decorator
@inline function bitOf<T>(op: u32): u64 {
  return <u64>load<u8>(b(op)) & (8 * sizeof<T>() - 1);
}

/** BT: CF <- a's bit b; the other flags stay */
export function bt<T>(op: u32): void {
  setCarry(((<u64>get<T>(a(op)) >> bitOf<T>(op)) & 1) != 0);
}
/** BTS: and it is set */
export function bts<T>(op: u32): void {
  const bit = (<u64>1) << bitOf<T>(op);
  const x = <u64>get<T>(a(op));
  set<T>(a(op), <T>(x | bit));
  setCarry((x & bit) != 0);
}
/** BTR: and it is cleared */
export function btr<T>(op: u32): void {
  const bit = (<u64>1) << bitOf<T>(op);
  const x = <u64>get<T>(a(op));
  set<T>(a(op), <T>(x & ~bit));
  setCarry((x & bit) != 0);
}
/** BTC: and it is inverted */
export function btc<T>(op: u32): void {
  const bit = (<u64>1) << bitOf<T>(op);
  const x = <u64>get<T>(a(op));
  set<T>(a(op), <T>(x ^ bit));
  setCarry((x & bit) != 0);
}

/** ZF by the source; a source of 0 leaves the destination as it was, as all processors do. */
export function bsf<T>(op: u32): void {
  const x = <u64>get<T>(b(op));
  setLogic<T>(<T>x);
  if (x != 0) set<T>(a(op), <T>ctz<u64>(x));
}
export function bsr<T>(op: u32): void {
  const x = <u64>get<T>(b(op));
  setLogic<T>(<T>x);
  if (x != 0) set<T>(a(op), <T>(63 - clz<u64>(x)));
}

/** CF when the source is 0, ZF when the count is. */
function setCount<T>(count: T, none: bool): void {
  setResult<T>(count);
  setCarryOverflow(none, false);
  store<u32>(FLAG_AUX, 0);
}
export function tzcnt<T>(op: u32): void {
  const x = <u64>get<T>(b(op));
  const count = x == 0 ? <T>(8 * sizeof<T>()) : <T>ctz<u64>(x);
  set<T>(a(op), count);
  setCount<T>(count, x == 0);
}
export function lzcnt<T>(op: u32): void {
  const x = <u64>get<T>(b(op));
  const count = <T>(clz<u64>(x) - (64 - 8 * sizeof<T>()));
  set<T>(a(op), count);
  setCount<T>(count, x == 0);
}

/** POPCNT: ZF by the source, the others 0 */
export function popcount<T>(op: u32): void {
  const x = <u64>get<T>(b(op));
  set<T>(a(op), <T>popcnt<u64>(x));
  setLogic<T>(x == 0 ? <T>0 : <T>1);
  // 1 has an odd number of ones: PF is 0 as it is to be; of 0 it is not
  if (x == 0) store<u64>(FLAG_RESULT, 1);
}

/** BSWAP, MOVBE: the bytes in reverse order */
export function byteSwap<T>(op: u32): void {
  set<T>(a(op), bswap<T>(get<T>(b(op))));
}

/** a <- a + the whole operands that b's offset in bits is away */
export function addBitOffset(op: u32): void {
  const size = <u32>imm(op); // log2 of the operand's bytes
  const bit = size == 3 ? load<i64>(b(op)) : size == 2 ? <i64>load<i32>(b(op)) : <i64>load<i16>(b(op));
  store<u64>(a(op), load<u64>(a(op)) + <u64>((bit >> (3 + size)) << size));
}
