// What vector operations have beside a, b and c: their shape, in the place of a displacement. And elements of vectors.

import { OP_DISP, VECTOR_REGISTER } from './layout';
import { a } from './state';
import { CLEAR, COUNT } from './vector_kinds';

/** Lanes of 16 bytes. */
// @ts-expect-error: decorator
@inline export function lanesOf(op: u32): u32 {
  return load<u8>(op, OP_DISP);
}
/** c is one count for all lanes. */
// @ts-expect-error: decorator
@inline export function sharesCount(op: u32): bool {
  return (load<u32>(op, OP_DISP) & COUNT) != 0;
}

/** VEX and EVEX: what a register has above what is written becomes 0. */
// @ts-expect-error: decorator
@inline export function clears(op: u32): bool {
  return (load<u32>(op, OP_DISP) & CLEAR) != 0;
}
export function clearAbove(op: u32, bytes: u32): void {
  if (clears(op)) memory.fill(a(op) + bytes, 0, VECTOR_REGISTER - bytes);
}

/** An element of 1, 2, 4 or 8 bytes, with its sign or zeros above it. */
export function elementOf(at: u32, size: u32, signed: bool): u64 {
  if (size == 1) return signed ? <u64>(<i64>load<i8>(at)) : <u64>load<u8>(at);
  if (size == 2) return signed ? <u64>(<i64>load<i16>(at)) : <u64>load<u16>(at);
  if (size == 4) return signed ? <u64>(<i64>load<i32>(at)) : <u64>load<u32>(at);
  return load<u64>(at);
}
export function storeElement(at: u32, size: u32, value: u64): void {
  if (size == 1) store<u8>(at, <u8>value);
  else if (size == 2) store<u16>(at, <u16>value);
  else if (size == 4) store<u32>(at, <u32>value);
  else store<u64>(at, value);
}

/** The sign of the element at a place. */
// @ts-expect-error: decorator
@inline export function signAt(at: u32, size: u32): bool {
  return load<i8>(at + size - 1) < 0;
}
