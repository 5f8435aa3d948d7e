// Vector operands in memory: up to 64 bytes, read or written whole or not at all.

import { STOP_PROTECTION } from './kinds';
import { ELSEWHERE_SIZE, STOP, STOP_CODE } from './layout';
import { mayWrite, read, stopped, write } from './memory';

/** Bytes of memory to linear memory. @returns false after a fault; what is at `to` then means nothing */
export function readBytes(va: u64, bytes: u32, to: u32): bool {
  let at: u32 = 0;
  for (; at + 8 <= bytes; at += 8) {
    store<u64>(to + at, read<u64>(va + at));
    if (stopped()) return false;
  }
  for (; at + 4 <= bytes && !stopped(); at += 4) store<u32>(to + at, read<u32>(va + at));
  for (; at < bytes && !stopped(); at++) store<u8>(to + at, read<u8>(va + at));
  return !stopped();
}

/** And back. @returns false after a fault: nothing was written */
export function writeBytes(va: u64, bytes: u32, from: u32): bool {
  if (!writable(va, bytes)) return false;
  let at: u32 = 0;
  for (; at + 8 <= bytes; at += 8) write<u64>(va + at, load<u64>(from + at));
  for (; at + 4 <= bytes; at += 4) write<u32>(va + at, load<u32>(from + at));
  for (; at < bytes; at++) write<u8>(va + at, load<u8>(from + at));
  return !stopped();
}

/** Whether all of it may be written. A fault is of its first byte in the page that may not. */
export function writable(va: u64, bytes: u32): bool {
  if (!mayWrite(va)) return false;
  const inPage: u32 = 0x1000 - (<u32>va & 0xfff);
  for (let at = inPage; at < bytes; at += 0x1000) {
    if (!mayWrite(va + at)) return false;
  }
  return true;
}

/** #GP unless an address is a multiple of the operand's bytes, or need not be one. @returns whether it goes on */
export function aligned(va: u64, bytes: u32): bool {
  if ((<u32>va & (bytes - 1)) == 0 || load<u32>(ELSEWHERE_SIZE) != 0) return true;
  store<u32>(STOP, STOP_PROTECTION);
  store<u32>(STOP_CODE, 0);
  return false;
}
