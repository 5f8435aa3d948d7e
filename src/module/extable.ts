// A module's exception table and bug table: what to do about a fault at an address, and what a ud2 there means.
// Mirrors lib/extable.c (sort_extable, search_extable) and lib/bug.c (find_bug, module_find_bug).

import { followRelative, type Table } from '../arch/module_text.ts';
import type { Addr } from '../guest/addr.ts';
import type { StructHome } from '../kernel/struct_home.ts';
import type { Module } from './module.ts';

interface ExtableEntry {
  readonly insn: Addr;
  readonly fixup: Addr;
  /** EX_TYPE_ and its registers. */
  readonly data: number;
}

/** Sorts by instruction in place; distances are from the entries themselves, so they change as entries move. */
export function sortExtable(home: StructHome, table: Table): number {
  const { mem } = home;
  const { size, fields } = home.kernel.structs.exception_table_entry;
  const entries = readExtable(home, table).sort((a, b) => (a.insn < b.insn ? -1 : a.insn > b.insn ? 1 : 0));
  entries.forEach((entry, i) => {
    const at = table.addr + BigInt(i * size);
    const insnAt = at + BigInt(fields.insn);
    const fixupAt = at + BigInt(fields.fixup);
    mem.writeU32(insnAt, Number(BigInt.asUintN(32, entry.insn - insnAt)));
    mem.writeU32(fixupAt, Number(BigInt.asUintN(32, entry.fixup - fixupAt)));
    mem.writeU32(at + BigInt(fields.data), entry.data);
  });
  return entries.length;
}

function readExtable(home: StructHome, table: Table): ExtableEntry[] {
  const { mem } = home;
  const { size, fields } = home.kernel.structs.exception_table_entry;
  return Array.from({ length: Math.floor(table.size / size) }, (_, i) => {
    const at = table.addr + BigInt(i * size);
    return {
      insn: followRelative(mem, at + BigInt(fields.insn)),
      fixup: followRelative(mem, at + BigInt(fields.fixup)),
      data: mem.readU32(at + BigInt(fields.data)),
    };
  });
}

/** search_module_extables(): where to go on after a fault at an instruction. */
export function searchModuleExtable(home: StructHome, mod: Module, insn: Addr): ExtableEntry | undefined {
  const table = mod.sections.get('__ex_table');
  return table && searchExtable(home, table, insn);
}

/** search_extable(): the entry of a table for an instruction. */
export function searchExtable(home: StructHome, table: Table, insn: Addr): ExtableEntry | undefined {
  return readExtable(home, table).find((e) => e.insn === insn);
}

interface BugEntry {
  readonly file: string;
  readonly line: number;
  /** BUGFLAG_ bits; without BUGFLAG_WARNING (1) it is a BUG(). */
  readonly flags: number;
  readonly flagsAt: Addr;
  /** Of its message, where the entry has one. */
  readonly format?: Addr;
}

/** module_find_bug(): the WARN() or BUG() whose ud2 is at an address. */
export function moduleFindBug(home: StructHome, mod: Module, addr: Addr): BugEntry | undefined {
  const table = mod.sections.get('__bug_table');
  return table && findBug(home, table, addr);
}

/** The entry of a bug table for the ud2 at an address. */
export function findBug(home: StructHome, table: Table, addr: Addr): BugEntry | undefined {
  const { size } = home.kernel.structs.bug_entry;
  for (let at = table.addr; at < table.addr + BigInt(table.size); at += BigInt(size))
    if (bugAddr(home, at) === addr) return readBug(home, at);
  return undefined;
}

/** bug_addr(): the instruction that a struct bug_entry is of. */
export function bugAddr({ mem, kernel }: StructHome, entry: Addr): Addr {
  return followRelative(mem, entry + BigInt(kernel.structs.bug_entry.fields.bug_addr_disp));
}

/** A struct bug_entry. */
export function readBug({ mem, kernel }: StructHome, entry: Addr): BugEntry {
  const { fields } = kernel.structs.bug_entry;
  const flagsAt = entry + BigInt(fields.flags);
  const { format_disp: formatAt } = fields;
  const format = formatAt === undefined ? 0 : mem.readS32(entry + BigInt(formatAt));
  return {
    file: mem.readCString(followRelative(mem, entry + BigInt(fields.file_disp))),
    line: mem.readU16(entry + BigInt(fields.line)),
    flags: mem.readU16(flagsAt),
    flagsAt,
    ...(formatAt === undefined || format === 0
      ? {}
      : { format: followRelative(mem, entry + BigInt(formatAt)) }),
  };
}
