// The GDT of every machine, the selectors of its segments, and what of a TSS is used. Mirrors
// arch/x86/kernel/cpu/common.c.

import type { Addr } from '../../guest/addr.ts';
import type { GuestMemory } from '../../guest/memory.ts';

/** Entries as in arch/x86/include/asm/segment.h. */
const ENTRIES = [
  ['NULL', 0n],
  ['KERNEL32_CS', 0x00cf9b000000ffffn],
  ['KERNEL_CS', 0x00af9b000000ffffn],
  ['KERNEL_DS', 0x00cf93000000ffffn],
  ['DEFAULT_USER32_CS', 0x00cffb000000ffffn],
  ['DEFAULT_USER_DS', 0x00cff3000000ffffn],
  ['DEFAULT_USER_CS', 0x00affb000000ffffn],
] as const;

export const GDT: readonly bigint[] = ENTRIES.map(([, entry]) => entry);

/** An index into the table, and the privilege level that is asked for. */
const selector = (name: (typeof ENTRIES)[number][0], rpl: number): number =>
  8 * ENTRIES.findIndex(([entry]) => entry === name) + rpl;

/** What the segment registers hold, by the kernel's names. */
export const SELECTOR = {
  KERNEL_CS: selector('KERNEL_CS', 0),
  KERNEL_DS: selector('KERNEL_DS', 0),
  USER_CS: selector('DEFAULT_USER_CS', 3),
  USER_DS: selector('DEFAULT_USER_DS', 3),
} as const;

/** RSP0 of a 64-bit TSS (Intel SDM vol. 3A, 8.7), which the kernel's cpu_tss_rw begins with. */
export const TSS_RSP0 = 4;

/** Writes the GDT to gdt_page. @returns its limit: bytes - 1 */
export function writeGdt(mem: GuestMemory, gdt: Addr): number {
  GDT.forEach((entry, i) => {
    mem.writeU64(gdt + BigInt(8 * i), entry);
  });
  return 8 * GDT.length - 1;
}
