// Elements under a mask, as EVEX has them: merged, zeroed, loaded and stored one by one, compared into a mask register.
// Intel SDM volume 1, 15.6.

import { STOP_UNDEFINED } from './kinds';
import { LANE, STOP } from './layout';
import { mayWrite } from './memory';
import { a, address, b, c, imm } from './state';
import * as K from './vector_kinds';
import { MASKED_ALIGNED, MASKED_WHOLE } from './vector_kinds';
import { aligned, readBytes, writable, writeBytes } from './vector_memory';
import { clearAbove, elementOf, signAt } from './vector_operands';

/** @returns false after a fault */
export function masks(kind: i32, op: u32, bytes: u32): bool {
  switch (kind) {
    case K.V_MERGE: merge(op, bytes); return true;
    case K.V_STORE_MASKED: return storeMasked(op);
    case K.V_LOAD_MASKED: return loadMasked(op);
    case K.V_COMPARE: compare(op, bytes); return true;
    case K.V_FROM_MASK: fromMask(op, bytes); return true;
    case K.V_TO_MASK: toMask(op, bytes); return true;
    default:
      store<u32>(STOP, STOP_UNDEFINED);
      return false;
  }
}

// @ts-expect-error: decorator
@inline function has(mask: u64, element: u32): bool {
  return ((mask >> element) & 1) != 0;
}

function merge(op: u32, bytes: u32): void {
  const size = <u32>imm(op) & 0xff;
  const zeroing = ((imm(op) >> 8) & 1) != 0;
  const mask = load<u64>(c(op));
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++) {
    if (has(mask, i)) memory.copy(a(op) + at, b(op) + at, size);
    else if (zeroing) memory.fill(a(op) + at, 0, size);
  }
  clearAbove(op, bytes);
}

/** All that are written are found writable before the first is. */
function storeMasked(op: u32): bool {
  const size = <u32>imm(op) & 0xff;
  const bytes = (<u32>imm(op) >> 8) & 0xff;
  const mask = load<u64>(c(op));
  const va = address(op);
  if ((imm(op) & MASKED_ALIGNED) != 0 && !aligned(va, bytes)) return false;
  if ((imm(op) & MASKED_WHOLE) != 0 && !writable(va, bytes)) return false;
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++) {
    if (has(mask, i) && (!mayWrite(va + at) || !mayWrite(va + at + size - 1))) return false;
  }
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++)
    if (has(mask, i) && !writeBytes(va + at, size, a(op) + at)) return false;
  return true;
}
function loadMasked(op: u32): bool {
  const size = <u32>imm(op) & 0xff;
  const bytes = (<u32>imm(op) >> 8) & 0xff;
  const mask = load<u64>(c(op));
  if ((imm(op) & MASKED_ALIGNED) != 0 && !aligned(address(op), bytes)) return false;
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++) {
    if (!has(mask, i)) memory.fill(a(op) + at, 0, size);
    else if (!readBytes(address(op) + at, size, a(op) + at)) return false;
  }
  return true;
}

/** VPCMPB and the others: eq lt le false, and their contraries */
function compare(op: u32, bytes: u32): void {
  const predicate = <u32>imm(op) & 7;
  const size = <u32>(imm(op) >> 8) & 0xff;
  const signed = (imm(op) & 0x10000) != 0;
  const under = <u32>(imm(op) >> 32);
  const mask = under != 0 ? load<u64>(under) : ~(<u64>0);
  let result: u64 = 0;
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++) {
    const x = elementOf(b(op) + at, size, signed);
    const y = elementOf(c(op) + at, size, signed);
    const less = signed ? <i64>x < <i64>y : x < y;
    const rule = predicate & 3;
    const holds = rule == 0 ? x == y : rule == 1 ? less : rule == 2 ? less || x == y : false;
    if (has(mask, i) && holds != (predicate > 3)) result |= <u64>1 << i;
  }
  store<u64>(a(op), result);
}

function fromMask(op: u32, bytes: u32): void {
  const size = <u32>imm(op);
  const mask = load<u64>(c(op));
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++) memory.fill(LANE + at, has(mask, i) ? 0xff : 0, size);
  memory.copy(a(op), LANE, bytes);
  clearAbove(op, bytes);
}
function toMask(op: u32, bytes: u32): void {
  const size = <u32>imm(op);
  let result: u64 = 0;
  for (let at: u32 = 0, i: u32 = 0; at < bytes; at += size, i++)
    if (signAt(c(op) + at, size)) result |= <u64>1 << i;
  store<u64>(a(op), result);
}
