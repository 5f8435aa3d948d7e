// A C integer of some size where a pointer leads: put_user() without a check, as kernel code stores results.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';

/** Stores a number of `bytes` bytes. */
export function storeInteger(mem: GuestMemory, addr: Addr, value: bigint, bytes: number): void {
  if (bytes === 1) mem.writeU8(addr, Number(value & 0xffn));
  else if (bytes === 2) mem.writeU16(addr, Number(value & 0xffffn));
  else if (bytes === 4) mem.writeU32(addr, Number(value & 0xffffffffn));
  else mem.writeU64(addr, value);
}
