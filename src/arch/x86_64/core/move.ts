// MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, CWD and the like, CMPXCHG8B and 16B, XLAT. Intel SDM volume 2.

import { condition, readFlags, signed, writeFlags, ZF } from './flags';
import { OP_DISP } from './layout';
import { read, readToWrite, stopped, write } from './memory';
import { a, address, b, c, get, imm, RAX, RBX, RCX, RDX, set } from './state';
import { aligned } from './vector_memory';

/** MOV: a <- b */
// @ts-expect-error: decorator
@inline export function mov<T>(op: u32): void {
  set<T>(a(op), get<T>(b(op)));
}

/** a <- memory. @returns false after a fault */
// @ts-expect-error: decorator
@inline export function loadMemory<T>(op: u32): bool {
  const value = read<T>(address(op));
  if (stopped()) return false;
  set<T>(a(op), value);
  return true;
}
// @ts-expect-error: decorator
@inline export function loadToWrite<T>(op: u32): bool {
  const value = readToWrite<T>(address(op));
  if (stopped()) return false;
  set<T>(a(op), value);
  return true;
}
/** memory <- a. @returns false after a fault, or when code was changed */
// @ts-expect-error: decorator
@inline export function storeMemory<T>(op: u32): bool {
  write<T>(address(op), get<T>(a(op)));
  return !stopped();
}

/** MOVZX: a <- b, zeros above */
// @ts-expect-error: decorator
@inline export function movzx<To, From>(op: u32): void {
  set<To>(a(op), <To>get<From>(b(op)));
}
/** MOVSX, MOVSXD, CBW, CWDE, CDQE: a <- b, its sign above */
// @ts-expect-error: decorator
@inline export function movsx<To, From>(op: u32): void {
  set<To>(a(op), <To>signed<From>(get<From>(b(op))));
}
// @ts-expect-error: decorator
@inline export function loadZx<To, From>(op: u32): bool {
  const value = read<From>(address(op));
  if (stopped()) return false;
  set<To>(a(op), <To>value);
  return true;
}
// @ts-expect-error: decorator
@inline export function loadSx<To, From>(op: u32): bool {
  const value = read<From>(address(op));
  if (stopped()) return false;
  set<To>(a(op), <To>signed<From>(value));
  return true;
}

/** LEA: a <- b + (c << scale) + disp */
// @ts-expect-error: decorator
@inline export function lea(op: u32): u64 {
  return load<u64>(b(op)) + (load<u64>(c(op)) << imm(op)) + <u64>(<i64>load<i32>(op, OP_DISP));
}

/** XCHG: a <-> b */
// @ts-expect-error: decorator
@inline export function xchg<T>(op: u32): void {
  const x = get<T>(a(op));
  const y = get<T>(b(op));
  set<T>(a(op), y);
  set<T>(b(op), x);
}

/** CMOVcc: a <- b if the condition in imm holds */
// @ts-expect-error: decorator
@inline export function cmov<T>(op: u32): void {
  if (condition(<u32>imm(op))) set<T>(a(op), get<T>(b(op)));
  else set<T>(a(op), get<T>(a(op)));
}

/** CWD, CDQ, CQO: rdx <- the sign of rax */
// @ts-expect-error: decorator
@inline export function signToRdx<T>(): void {
  set<T>(RDX, <T>(signed<T>(get<T>(RAX)) >> 63));
}

/** XLAT: al <- byte at b (rbx) + al + the segment's base in c */
export function xlat(op: u32): bool {
  const value = read<u8>(load<u64>(c(op)) + load<u64>(RBX) + <u64>load<u8>(RAX));
  if (stopped()) return false;
  store<u8>(RAX, value);
  return true;
}

function setZero(zero: bool): void {
  writeFlags(zero ? readFlags() | ZF : readFlags() & ~ZF);
}

/** CMPXCHG8B: memory with edx:eax; equal: ecx:ebx is stored. ZF alone changes */
export function cmpxchg8b(op: u32): bool {
  const at = address(op);
  const value = readToWrite<u64>(at);
  if (stopped()) return false;
  const wanted = ((<u64>load<u32>(RDX)) << 32) | <u64>load<u32>(RAX);
  const equal = value == wanted;
  if (!equal) {
    set<u32>(RAX, <u32>value);
    set<u32>(RDX, <u32>(value >> 32));
  }
  setZero(equal);
  write<u64>(at, equal ? ((<u64>load<u32>(RCX)) << 32) | <u64>load<u32>(RBX) : value);
  return !stopped();
}

/** CMPXCHG16B: the same of twice the size; #GP for an operand that is not aligned */
export function cmpxchg16b(op: u32): bool {
  const at = address(op);
  if (!aligned(at, 16)) return false;
  const low = readToWrite<u64>(at);
  if (stopped()) return false;
  const high = readToWrite<u64>(at + 8);
  if (stopped()) return false;
  const equal = low == load<u64>(RAX) && high == load<u64>(RDX);
  if (!equal) {
    store<u64>(RAX, low);
    store<u64>(RDX, high);
  }
  setZero(equal);
  if (equal) {
    write<u64>(at, load<u64>(RBX));
    write<u64>(at + 8, load<u64>(RCX));
  }
  return !stopped();
}
