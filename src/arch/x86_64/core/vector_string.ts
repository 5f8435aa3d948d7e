// Strings in vector registers: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. Intel SDM volume 1, 14.8 (of SSE4.2), and
// volume 2, 4.1.

import { ARITHMETIC, CF, OF, readFlags, SF, writeFlags, ZF } from './flags';
import { OP_IMM, VECTOR_REGISTER, ZMM } from './layout';
import { b, c, RAX, RCX, RDX } from './state';
import { PCMPESTRI, PCMPESTRM, PCMPISTRI } from './vector_kinds';
import { elementOf, storeElement } from './vector_operands';

// Bits 2 and 3 of the constant.
const EQUAL_ANY: u32 = 0;
const RANGES: u32 = 1;
const EQUAL_EACH: u32 = 2;

/** b is the first string, c the second. @param clears what xmm0 has above its 128 bits, as VEX has it */
export function strings(kind: i32, op: u32, clears: bool): void {
  const constant = <u32>load<u8>(op + OP_IMM);
  const wide = load<u8>(op + OP_IMM, 1) != 0;
  const size: u32 = (constant & 1) + 1;
  const count: u32 = 16 / size;
  const explicit = kind == PCMPESTRI || kind == PCMPESTRM;
  const first = explicit ? lengthIn(RAX, wide, count) : lengthOf(b(op), size, count);
  const second = explicit ? lengthIn(RDX, wide, count) : lengthOf(c(op), size, count);
  let result = compared(b(op), first, c(op), second, size, (constant & 2) != 0, (constant >> 2) & 3);
  const all = ((<u32>1) << count) - 1;
  if ((constant & 0x10) != 0) result ^= (constant & 0x20) != 0 ? ((<u32>1) << second) - 1 : all;
  let flags: u64 = result != 0 ? CF : 0;
  if (second < count) flags |= ZF;
  if (first < count) flags |= SF;
  if ((result & 1) != 0) flags |= OF;
  if (kind == PCMPESTRI || kind == PCMPISTRI) store<u64>(RCX, place(result, count, (constant & 0x40) != 0));
  else writeMask(result, size, (constant & 0x40) != 0, clears);
  writeFlags((readFlags() & ~ARITHMETIC) | flags);
}

/** The magnitude of what a register holds, at most all elements. */
function lengthIn(register: u32, wide: bool, count: u32): u32 {
  const value = wide ? load<i64>(register) : <i64>load<i32>(register);
  const magnitude: u64 = value < 0 ? 0 - <u64>value : <u64>value;
  return <u32>min<u64>(magnitude, count);
}
/** Elements before the first that is 0. */
function lengthOf(string: u32, size: u32, count: u32): u32 {
  let length: u32 = 0;
  while (length < count && elementOf(string + length * size, size, false) != 0) length++;
  return length;
}

/** A bit an element of the second string. */
function compared(x: u32, xs: u32, y: u32, ys: u32, size: u32, signed: bool, how: u32): u32 {
  const count: u32 = 16 / size;
  let result: u32 = 0;
  for (let j: u32 = 0; j < count; j++) {
    let holds: bool;
    if (how == EQUAL_EACH) holds = j < xs && j < ys ? same(x, j, y, j, size) : j >= xs && j >= ys;
    else if (how == EQUAL_ANY) holds = j < ys && isAmong(x, xs, y, j, size);
    else if (how == RANGES) holds = j < ys && isInRange(x, xs, elementOf(y + j * size, size, signed), size, signed);
    else holds = beginsAt(x, xs, y, ys, j, size);
    if (holds) result |= (<u32>1) << j;
  }
  return result;
}
function same(x: u32, i: u32, y: u32, j: u32, size: u32): bool {
  return elementOf(x + i * size, size, false) == elementOf(y + j * size, size, false);
}
function isAmong(x: u32, xs: u32, y: u32, j: u32, size: u32): bool {
  for (let i: u32 = 0; i < xs; i++) if (same(x, i, y, j, size)) return true;
  return false;
}
/** Pairs of the first string are ranges. */
function isInRange(x: u32, xs: u32, value: u64, size: u32, signed: bool): bool {
  for (let i: u32 = 0; i + 1 < xs; i += 2) {
    const from = <i64>elementOf(x + i * size, size, signed);
    const to = <i64>elementOf(x + (i + 1) * size, size, signed);
    if (<i64>value >= from && <i64>value <= to) return true;
  }
  return false;
}
/** The first string is in the second from an element on, as far as that goes. */
function beginsAt(x: u32, xs: u32, y: u32, ys: u32, j: u32, size: u32): bool {
  const count: u32 = 16 / size;
  for (let i: u32 = 0; i < xs && j + i < count; i++) if (j + i >= ys || !same(x, i, y, j + i, size)) return false;
  return true;
}

function place(result: u32, count: u32, highest: bool): u64 {
  if (result == 0) return count;
  return highest ? 31 - clz<u32>(result) : ctz<u32>(result);
}
function writeMask(result: u32, size: u32, ofElements: bool, clears: bool): void {
  memory.fill(ZMM, 0, clears ? <usize>VECTOR_REGISTER : <usize>16);
  if (!ofElements) store<u32>(ZMM, result);
  else for (let at: u32 = 0, i: u32 = 0; at < 16; at += size, i++) storeElement(ZMM + at, size, (result >> i) & 1 ? ~(<u64>0) : 0);
}
