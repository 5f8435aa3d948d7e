// The symbols of a module: which there are, their nm letters, and the two tables of them in guest memory.
// Mirrors add_kallsyms(), elf_type() and find_kallsyms_symbol() of kernel/module/kallsyms.c.
//
// Invariant: until init has run the full table counts; from then on the cut-down one in core.

import {
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_ABS,
  SHN_UNDEF,
  SHT_NOBITS,
  STB_WEAK,
  STT_OBJECT,
  SYM_SIZE,
  SYM_VALUE,
} from '../elf/constants.ts';
import type { ElfSymbol } from '../elf/elf_object.ts';
import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { KernelSymbol } from '../kernel/kallsyms.ts';
import { loadFlags, type ModuleLayout } from './layout.ts';

/** The letter that /proc/kallsyms shows in lower case. */
function elfType(symbol: ElfSymbol): string {
  const { section, shndx } = symbol;
  if (symbol.bind === STB_WEAK) return symbol.type === STT_OBJECT ? 'v' : 'w';
  if (shndx === SHN_UNDEF) return 'U';
  if (shndx === SHN_ABS || section?.name === '.data..percpu') return 'a';
  if (!section) return '?';
  const flags = loadFlags(section);
  if (flags & SHF_EXECINSTR) return 't';
  if (section.type === SHT_NOBITS) return 'b';
  if (flags & SHF_ALLOC) return flags & SHF_WRITE ? 'd' : 'r';
  return section.name.startsWith('.debug') ? 'n' : '?';
}

export interface SymtabAddresses {
  readonly symtab: Addr;
  readonly strtab: Addr;
  readonly types: Addr;
  readonly count: number;
}

/** Where the tables are: the full one at the end of init, the one that stays at the end of core. */
export function symtabAddresses(
  layout: ModuleLayout,
  count: number,
  core: Addr,
  init: Addr,
): { core: SymtabAddresses; init: SymtabAddresses } {
  const { symtab } = layout;
  return {
    init: {
      symtab: init + BigInt(symtab.initSymtab),
      strtab: init + BigInt(symtab.initStrtab),
      types: init + BigInt(symtab.initTypes),
      count,
    },
    core: {
      symtab: core + BigInt(symtab.coreSymtab),
      strtab: core + BigInt(symtab.coreStrtab),
      types: core + BigInt(symtab.coreTypes),
      count: symtab.coreSymbols.length,
    },
  };
}

/** Fills in what the full table lacks and the whole cut-down one; values are there, from simplifySymbols(). */
export function addKallsyms(
  mem: GuestMemory,
  symbols: readonly ElfSymbol[],
  kept: readonly ElfSymbol[],
  tables: { readonly core: SymtabAddresses; readonly init: SymtabAddresses },
): void {
  const { core, init } = tables;
  mem.writeBytes(init.types, typeLetters(symbols));
  mem.writeBytes(core.types, typeLetters(kept));
  let name = 0;
  kept.forEach((symbol, i) => {
    const entry = mem.readBytes(init.symtab + BigInt(symbol.index * SYM_SIZE), SYM_SIZE);
    new DataView(entry.buffer).setUint32(0, name, true);
    mem.writeBytes(core.symtab + BigInt(i * SYM_SIZE), entry);
    mem.writeCString(core.strtab + BigInt(name), symbol.name);
    name += symbol.name.length + 1;
  });
}

function typeLetters(symbols: readonly ElfSymbol[]): Uint8Array {
  return Uint8Array.from(symbols, (s) => elfType(s).charCodeAt(0));
}

/** st_value of a symbol in a table in guest memory. */
export function symbolValue(mem: GuestMemory, table: SymtabAddresses, index: number): Addr {
  return mem.readU64(table.symtab + BigInt(index * SYM_SIZE + SYM_VALUE));
}

export function writeSymbolValue(mem: GuestMemory, table: SymtabAddresses, index: number, value: Addr): void {
  mem.writeU64(table.symtab + BigInt(index * SYM_SIZE + SYM_VALUE), value);
}

interface ModuleSymbols {
  /** Those that are found by name or address, in the order of the symbol table. */
  readonly found: readonly KernelSymbol[];
  /** Those that /proc/kallsyms shows: of a livepatch also what it takes from elsewhere. */
  readonly shown: readonly KernelSymbol[];
}

/**
 * What the machine's kallsyms is to know of a module. A symbol reaches to the next one of its region, as
 * find_kallsyms_symbol() has it: a size in the object file does not count. What lies behind the text is told the distance back to
 * its end instead, a large number, since the search begins with that. A mapping symbol has a name and an address,
 * and covers nothing.
 */
export function moduleKallsyms(
  mem: GuestMemory,
  table: SymtabAddresses,
  symbols: readonly ElfSymbol[],
  regions: readonly { readonly start: Addr; readonly end: Addr; readonly textEnd: Addr }[],
  exported: ReadonlySet<string>,
): ModuleSymbols {
  const all = symbols
    .map((symbol, i) => ({ symbol, addr: symbolValue(mem, table, i) }))
    .filter(({ symbol }) => symbol.name !== '');
  const live = all.filter(({ symbol }) => symbol.shndx !== SHN_UNDEF && !isMappingSymbol(symbol.name));
  const starts = [...new Set(live.map((s) => s.addr))].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const next = new Map(starts.map((addr, i) => [addr, starts[i + 1]]));
  const made = all.map(({ symbol, addr }) => {
    const letter = elfType(symbol);
    if (symbol.shndx === SHN_UNDEF)
      return { name: symbol.name, addr, size: 0, type: letter.toLowerCase(), isTaken: true };
    const type = exported.has(symbol.name) ? letter.toUpperCase() : letter;
    if (isMappingSymbol(symbol.name)) return { name: symbol.name, addr, size: 0, type, isTaken: false };
    const region = regions.find((r) => addr >= r.start && addr < r.end);
    const end = region?.end ?? addr;
    const following = next.get(addr);
    const limit = following !== undefined && following < end ? following : end;
    const size = Number(limit - addr);
    const own = symbol.size > 0 && symbol.size < size ? { ownSize: symbol.size } : {};
    const isData = region !== undefined && addr >= region.textEnd;
    const told = isData ? { toldSize: BigInt.asUintN(64, region.textEnd - addr) } : {};
    return { name: symbol.name, addr, size, ...own, ...told, type, isTaken: false };
  });
  const plain = ({ isTaken: _, ...symbol }: (typeof made)[number]): KernelSymbol => symbol;
  return { found: made.filter(({ isTaken }) => !isTaken).map(plain), shown: made.map(plain) };
}

/** is_arm_mapping_symbol(), by which every architecture names no address; names with it are found and listed as any other. */
const isMappingSymbol = (name: string): boolean => /^(\.L|\$[axtd](\.|$))/.test(name);
