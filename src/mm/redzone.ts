// Bytes around an allocation that nobody may write, and what is said of who did.
// Mirrors the red zones of mm/slub.c (slub_debug=Z), which here every allocation of a module has.
//
// Invariant: an object keeps the alignment that kmalloc() promises: that of its cache.

import type { Addr } from '../guest/addr.ts';
import { hex16 } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import { slotSize } from '../kernel/slab.ts';

/** SLUB_RED_ACTIVE */
const RED_ACTIVE = 0xcc;
const RIGHT_MIN = 8;

/** Bytes: before the object, the object as asked for, and all of it. */
export interface Zoned {
  readonly left: number;
  readonly size: number;
  readonly total: number;
}

/** A byte of a red zone that is not what it was painted with. */
interface Overwritten {
  readonly side: 'Left' | 'Right';
  readonly at: Addr;
  /** One past the last bad byte. */
  readonly end: Addr;
  readonly byte: number;
}

/** Room for an object of `size` bytes with a zone on each side. */
export function zonesOf(size: number): Zoned {
  const slot = slotSize(size);
  const left = Math.min(slot & -slot, PAGE_SIZE);
  const total = Math.ceil((left + Math.max(slot, size + RIGHT_MIN)) / left) * left;
  return { left, size, total };
}

/** @param base where the left zone starts. */
export function paintZones(mem: GuestMemory, base: Addr, { left, size, total }: Zoned): void {
  mem.fill(base, left, RED_ACTIVE);
  mem.fill(base + BigInt(left + size), total - left - size, RED_ACTIVE);
}

/** The first zone that was written to; undefined when both are whole. */
export function checkZones(
  mem: GuestMemory,
  base: Addr,
  { left, size, total }: Zoned,
): Overwritten | undefined {
  const bytes = mem.view(base, total);
  return damage(bytes, 0, left, base, 'Left') ?? damage(bytes, left + size, total, base, 'Right');
}

function damage(
  bytes: Uint8Array,
  from: number,
  to: number,
  base: Addr,
  side: Overwritten['side'],
): Overwritten | undefined {
  let first = from;
  while (first < to && bytes[first] === RED_ACTIVE) first++;
  if (first === to) return undefined;
  let last = to;
  while (bytes[last - 1] === RED_ACTIVE) last--;
  return { side, at: base + BigInt(first), end: base + BigInt(last), byte: bytes[first] };
}

/** What slab_bug() and check_bytes_and_report() print, a line each. */
export function redzoneReport(
  { side, at, end, byte }: Overwritten,
  object: {
    addr: Addr;
    size: number;
    allocatedIn: string;
    cache: string;
    ageNs: number;
    cpu: number;
    pid: number;
  },
  tainted: string,
): string[] {
  const { addr, size, allocatedIn, cache, cpu, pid } = object;
  const zone = `${side} Redzone`;
  const value = (n: number): string => `0x${n.toString(16)}`;
  const range = `0x${hex16(at)}-0x${hex16(end - 1n)}`;
  return [
    '='.repeat(77),
    `BUG ${cache} (${tainted}): ${zone} overwritten`,
    '-'.repeat(77),
    '',
    `${range} @offset=${at - addr}. First byte ${value(byte)} instead of ${value(RED_ACTIVE)}`,
    `Allocated in ${allocatedIn} age=${Math.floor(object.ageNs / 4e6)} cpu=${cpu} pid=${pid}`,
    `Object 0x${hex16(addr)} size=${size}`,
    `FIX ${cache}: Restoring ${zone} ${range}=${value(RED_ACTIVE)}`,
  ];
}
