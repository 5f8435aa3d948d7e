// Where a kernel's fixups of exceptions lead, and from which instructions.
// Mirrors struct exception_table_entry of arch/x86/include/asm/extable.h.
//
// Invariant: addresses are low halves of the kernel's.

import { EXCEPTION_ENTRY } from '../elf/table_rows.ts';
import type { LinkedKernel } from './linked_kernel.ts';

/** By place that fixups lead to, the instructions that they are for. */
export type Fixups = ReadonlyMap<number, readonly number[]>;

/** None where the kernel has no table of that layout as a section. */
export function fixupsOf(kernel: LinkedKernel): Fixups {
  const found = new Map<number, number[]>();
  const table = kernel.section('__ex_table');
  const [{ size, relocated }] = EXCEPTION_ENTRY;
  if (!table || table.start === 0) return found;
  const data = kernel.data(table);
  if (data.length % size !== 0) return found;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const place = (at: number): number => (table.start + at + view.getInt32(at, true)) >>> 0;
  for (let row = 0; row < data.length; row += size) {
    const [from, to] = relocated.map((field) => place(row + field));
    const known = found.get(to);
    if (known) known.push(from);
    else found.set(to, [from]);
  }
  return found;
}
