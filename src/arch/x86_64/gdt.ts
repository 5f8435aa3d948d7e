// The GDT of every machine. Mirrors arch/x86/kernel/cpu/common.c.

import type { Addr } from '../../guest/addr.ts';
import type { GuestMemory } from '../../guest/memory.ts';

/** Entries as in arch/x86/include/asm/segment.h. */
export const GDT: readonly bigint[] = [
  0n,
  0x00cf9b000000ffffn, // KERNEL32_CS
  0x00af9b000000ffffn, // KERNEL_CS 0x10
  0x00cf93000000ffffn, // KERNEL_DS 0x18
  0x00cffb000000ffffn, // DEFAULT_USER32_CS 0x20
  0x00cff3000000ffffn, // DEFAULT_USER_DS 0x28
  0x00affb000000ffffn, // DEFAULT_USER_CS 0x30
];

/** Writes the GDT to gdt_page. @returns its limit: bytes - 1 */
export function writeGdt(mem: GuestMemory, gdt: Addr): number {
  GDT.forEach((entry, i) => {
    mem.writeU64(gdt + BigInt(8 * i), entry);
  });
  return 8 * GDT.length - 1;
}
