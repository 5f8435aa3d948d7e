// MOVS, STOS, LODS, CMPS, SCAS, once and repeated. Intel SDM volume 2.
//
// a: the cell of the source's segment base (ZERO for none); c: 1 with an address-size prefix.
// Repetitions are instructions of their own: each takes one of the budget, and the one that finds rcx at 0, too.
// Those of MOVS and STOS that stay in pages of recent translations are done at once: nobody could tell them apart.

import { DF, isZero, setSub } from './flags';
import { LEFT, RFLAGS } from './layout';
import { read, readableSpan, stopped, toPageEnd, writableSpan, write } from './memory';
import { a, c, get, imm, RAX, RCX, RDI, RSI, set } from './state';

// @ts-expect-error: decorator
@inline function step<T>(): u64 {
  return load<u64>(RFLAGS) & DF ? -<u64>sizeof<T>() : <u64>sizeof<T>();
}

// @ts-expect-error: decorator
@inline function index(cell: u32, op: u32): u64 {
  return c(op) ? <u64>load<u32>(cell) : load<u64>(cell);
}

// @ts-expect-error: decorator
@inline function advance(cell: u32, op: u32, by: u64): void {
  if (c(op)) store<u64>(cell, <u64>(<u32>(load<u64>(cell) + by)));
  else store<u64>(cell, load<u64>(cell) + by);
}

/** MOVS: byte at rdi <- byte at rsi. @returns false after a fault, as all of these */
export function movs<T>(op: u32): bool {
  const value = read<T>(load<u64>(a(op)) + index(RSI, op));
  if (stopped()) return false;
  write<T>(index(RDI, op), value);
  if (stopped()) return false;
  advance(RSI, op, step<T>());
  advance(RDI, op, step<T>());
  return true;
}

/** STOS: byte at rdi <- al */
export function stos<T>(op: u32): bool {
  write<T>(index(RDI, op), get<T>(RAX));
  if (stopped()) return false;
  advance(RDI, op, step<T>());
  return true;
}

/** LODS: al <- byte at rsi */
export function lods<T>(op: u32): bool {
  const value = read<T>(load<u64>(a(op)) + index(RSI, op));
  if (stopped()) return false;
  set<T>(RAX, value);
  advance(RSI, op, step<T>());
  return true;
}

/** CMPS: flags of byte at rsi - byte at rdi, which is read first: of two that fault, processors report it */
export function cmps<T>(op: u32): bool {
  const y = read<T>(index(RDI, op));
  if (stopped()) return false;
  const x = read<T>(load<u64>(a(op)) + index(RSI, op));
  if (stopped()) return false;
  setSub<T>(x, y, <T>(x - y));
  advance(RSI, op, step<T>());
  advance(RDI, op, step<T>());
  return true;
}

/** SCAS: flags of al - byte at rdi */
export function scas<T>(op: u32): bool {
  const x = get<T>(RAX);
  const y = read<T>(index(RDI, op));
  if (stopped()) return false;
  setSub<T>(x, y, <T>(x - y));
  advance(RDI, op, step<T>());
  return true;
}

/** rcx was not 0: one less, of the size of addresses. */
// @ts-expect-error: decorator
@inline function countDown(op: u32): void {
  advance(RCX, op, -1);
}

/** Takes one of the budget for the next repetition. */
// @ts-expect-error: decorator
@inline function isBudgetLeft(): bool {
  const left = load<i32>(LEFT);
  if (left == 0) return false;
  store<i32>(LEFT, left - 1);
  return true;
}

/** Fewer are done one by one as fast. */
const MIN_AT_ONCE: u32 = 4;

/**
 * How many repetitions can be done at once: upwards, with 64-bit addresses, as many as rcx and the budget have.
 * @param room bytes in which they are to be
 */
// @ts-expect-error: decorator
@inline function repetitionsIn<T>(room: u32, op: u32): u32 {
  if (c(op) || (load<u64>(RFLAGS) & DF) != 0) return 0;
  let count = room / sizeof<T>();
  if (load<u64>(RCX) < <u64>count) count = <u32>load<u64>(RCX);
  const left = load<i32>(LEFT);
  if (left < <i32>count) count = left < 0 ? 0 : <u32>left;
  return count < MIN_AT_ONCE ? 0 : count;
}

// @ts-expect-error: decorator
@inline function tookAtOnce(count: u32): void {
  store<u64>(RCX, load<u64>(RCX) - <u64>count);
  store<i32>(LEFT, load<i32>(LEFT) - <i32>count);
}

/** Copies up to the end of the one page or of the other. @returns whether it did; bytes that run into their source go one by one */
// @ts-expect-error: decorator
@inline function movsAtOnce<T>(op: u32): bool {
  const source = load<u64>(a(op)) + load<u64>(RSI);
  const target = load<u64>(RDI);
  const from = readableSpan(source);
  const to = writableSpan(target);
  if (from == 0 || to == 0) return false;
  const count = repetitionsIn<T>(min(toPageEnd(source), toPageEnd(target)), op);
  const size = count * sizeof<T>();
  if (count == 0 || (to > from && to < from + size)) return false;
  memory.copy(to, from, size);
  store<u64>(RSI, load<u64>(RSI) + <u64>size);
  store<u64>(RDI, target + <u64>size);
  tookAtOnce(count);
  return true;
}

/** Fills up to the end of the page. @returns whether it did */
// @ts-expect-error: decorator
@inline function stosAtOnce<T>(op: u32): bool {
  const target = load<u64>(RDI);
  const to = writableSpan(target);
  if (to == 0) return false;
  const count = repetitionsIn<T>(toPageEnd(target), op);
  if (count == 0) return false;
  const size = count * sizeof<T>();
  const value = get<T>(RAX);
  if (sizeof<T>() == 1 || value == 0) memory.fill(to, <u8>value, size);
  else for (let at: u32 = 0; at < size; at += sizeof<T>()) store<T>(to + at, value);
  store<u64>(RDI, target + <u64>size);
  tookAtOnce(count);
  return true;
}

/** @returns false after a fault, and where no budget is left; LEFT has what is, as all of these */
export function repMovs<T>(op: u32, left: i32): bool {
  store<i32>(LEFT, left);
  while (index(RCX, op) != 0) {
    if (movsAtOnce<T>(op)) continue;
    if (!movs<T>(op)) return false;
    countDown(op);
    if (!isBudgetLeft()) return false;
  }
  return true;
}
export function repStos<T>(op: u32, left: i32): bool {
  store<i32>(LEFT, left);
  while (index(RCX, op) != 0) {
    if (stosAtOnce<T>(op)) continue;
    if (!stos<T>(op)) return false;
    countDown(op);
    if (!isBudgetLeft()) return false;
  }
  return true;
}
export function repLods<T>(op: u32, left: i32): bool {
  store<i32>(LEFT, left);
  while (index(RCX, op) != 0) {
    if (!lods<T>(op)) return false;
    countDown(op);
    if (!isBudgetLeft()) return false;
  }
  return true;
}
/** Goes on while ZF is imm: 1 for repe, 0 for repne. */
export function repCmps<T>(op: u32, left: i32): bool {
  store<i32>(LEFT, left);
  while (index(RCX, op) != 0) {
    if (!cmps<T>(op)) return false;
    countDown(op);
    if (<u64>isZero() != imm(op)) return true;
    if (!isBudgetLeft()) return false;
  }
  return true;
}
export function repScas<T>(op: u32, left: i32): bool {
  store<i32>(LEFT, left);
  while (index(RCX, op) != 0) {
    if (!scas<T>(op)) return false;
    countDown(op);
    if (<u64>isZero() != imm(op)) return true;
    if (!isBudgetLeft()) return false;
  }
  return true;
}
