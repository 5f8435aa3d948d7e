// Which symbol is at an address, and which addresses a name has. Mirrors kernel/kallsyms.c and the
// exported-symbol lookup of kernel/module/main.c (find_symbol).
//
// Image and module symbols live here together; each module's go with the module. Names may repeat (static functions):
// within the image they are asked by ascending address, within a module in the order of its symbol table
// (module_kallsyms_on_each_symbol()), which /proc/kallsyms shows too.

import { type Addr, hi32, lo32 } from '../guest/addr.ts';
import { PAGE_SHIFT } from '../guest/memory.ts';
import { type KernelSymbol, type ObjectSymbols, SortedSymbols, stem } from './object_symbols.ts';
import type { SymbolLines } from './symbol_lines.ts';

export type { KernelSymbol } from './object_symbols.ts';

export interface ResolvedSymbol extends KernelSymbol {
  /** Module name; undefined for the image. */
  readonly module?: string;
  readonly offset: number;
}

export interface ExportedSymbol {
  readonly addr: Addr;
  readonly gpl: boolean;
  /** Of the image; a module has those of its own. */
  readonly crc?: number;
  /** Of the image, as its checksum is: only modules that import it may use the symbol. */
  readonly namespace?: string;
  /** Module that exports it; undefined for the image. */
  readonly module?: string;
}

interface ModuleTable {
  readonly module: string;
  readonly symbols: SortedSymbols;
  /** Which came first: tables are asked in this order. */
  readonly serial: number;
}

/** Addresses that are remembered with their symbols, at most. */
const MOST_FOUND = 4096;

export class Kallsyms {
  #image: ObjectSymbols | undefined;
  #imageListed: ObjectSymbols | undefined;
  readonly #modules = new Map<string, ModuleTable>();
  readonly #modulesAt = new TablesByPage();
  /** By address that was asked for, until the tables change. */
  readonly #found = new Map<Addr, ResolvedSymbol>();
  #serial = 0;
  readonly #preferred = new Map<string, Addr>();
  readonly #exports = new Map<string, ExportedSymbol>();
  /** ftrace_mod_address_lookup() */
  #formerly: (addr: Addr) => ResolvedSymbol | undefined = () => undefined;
  /** The image's, where those are too many to be listed at each boot. */
  #imageExport: (name: string) => ExportedSymbol | undefined = () => undefined;
  /** Names that each module exports. */
  readonly #exportsOf = new Map<string, string[]>();

  /** @param listed what /proc/kallsyms shows of the image, where that is something else */
  addImage(symbols: ObjectSymbols, listed = symbols): void {
    this.#found.clear();
    this.#image = symbols;
    this.#imageListed = listed;
  }

  /**
   * Adds the image's (module undefined) or a module's symbols, those in the order of its symbol table.
   * @param shown in /proc/kallsyms, where that are more
   */
  add(module: string | undefined, found: readonly KernelSymbol[], shown = found): void {
    if (module === undefined) {
      this.addImage(new SortedSymbols(found));
      return;
    }
    this.#found.clear();
    const old = this.#modules.get(module);
    const symbols = new SortedSymbols(found, shown);
    const table = { module, symbols, serial: old?.serial ?? this.#serial++ };
    this.#modules.set(module, table);
    if (old) this.#modulesAt.remove(old);
    this.#modulesAt.add(table);
  }

  remove(module: string): void {
    this.#found.clear();
    const table = this.#modules.get(module);
    if (table) this.#modulesAt.remove(table);
    this.#modules.delete(module);
    for (const name of this.#exportsOf.get(module) ?? []) {
      if (this.#exports.get(name)?.module === module) this.#exports.delete(name);
    }
    this.#exportsOf.delete(module);
  }

  addExport(name: string, symbol: ExportedSymbol): void {
    this.#exports.set(name, symbol);
    if (symbol.module === undefined) return;
    const names = this.#exportsOf.get(symbol.module);
    if (names) names.push(name);
    else this.#exportsOf.set(symbol.module, [name]);
  }

  /** What the image exports. */
  exportBy(find: (name: string) => ExportedSymbol | undefined): void {
    this.#imageExport = find;
  }

  /** find_symbol(): only what is exported. */
  findExport(name: string): ExportedSymbol | undefined {
    return this.#exports.get(name) ?? this.#imageExport(name);
  }

  /** Every symbol of that name in one object (module undefined: the image), in the order in which a sympos counts them. */
  matches(name: string, module: string | undefined): readonly KernelSymbol[] {
    return this.#symbolsOf(module)?.named(name) ?? [];
  }

  /** Symbols of one object whose names are this one, a dot, and more; ascending by address. */
  derived(name: string, module: string | undefined): readonly KernelSymbol[] {
    const prefix = `${name}.`;
    const same = this.#symbolsOf(module)?.dotted(stem(name)) ?? [];
    return same.filter((symbol) => symbol.name.startsWith(prefix));
  }

  /** Of a name that the image has several times, which one the machine means. */
  prefer(name: string, addr: Addr): void {
    this.#preferred.set(name, addr);
  }

  /**
   * The image's symbol that the machine means by a name: the first, where nothing is said.
   * @throws Error when there is none: the image lacks what it needs.
   */
  require(name: string): Addr {
    const found = this.#preferred.get(name) ?? this.lookupName(name);
    if (found === undefined) throw new Error(`the guest kernel image has no symbol ${name}`);
    return found;
  }

  /** kallsyms_lookup_name(): the image first, then modules in load order; `mod:sym` names a module. */
  lookupName(name: string): Addr | undefined {
    const colon = name.indexOf(':');
    if (colon > 0) return this.matches(name.slice(colon + 1), name.slice(0, colon))[0]?.addr;
    for (const symbols of this.#objects()) {
      const [found] = symbols.named(name);
      if (found) return found.addr;
    }
    return undefined;
  }

  /** The symbol that covers the address: the last one at or below it, inside its size. */
  lookup(addr: Addr): ResolvedSymbol | undefined {
    const known = this.#found.get(addr);
    if (known) return known;
    const found = this.#lookup(addr);
    if (found && this.#found.size < MOST_FOUND) this.#found.set(addr, found);
    return found;
  }

  #lookup(addr: Addr): ResolvedSymbol | undefined {
    const symbol = this.#image?.covering(addr);
    if (symbol) return { ...symbol, offset: Number(addr - symbol.addr) };
    for (const { module, symbols } of this.#modulesAt.at(addr)) {
      const found = symbols.covering(addr);
      if (found) return { ...found, offset: Number(addr - found.addr), module };
    }
    return undefined;
  }

  /** What is asked last for a name: of text that has gone. */
  nameFormer(find: (addr: Addr) => ResolvedSymbol | undefined): void {
    this.#formerly = find;
  }

  /** kallsyms_lookup(): what an address is called, also where its text has gone and is remembered; lookup() knows that no more. */
  describe(addr: Addr): ResolvedSymbol | undefined {
    return this.lookup(addr) ?? this.#formerly(addr);
  }

  /** How far behind the beginning of the symbol that covers it an address is, without more to be known of it. */
  offsetAt(addr: Addr): number | undefined {
    return this.#image?.offsetAt(addr) ?? this.#lookup(addr)?.offset;
  }

  /** kallsyms_lookup_size_offset(): size and offset for an address. */
  sizeAndOffset(addr: Addr): { size: number; offset: number } | undefined {
    const found = this.lookup(addr);
    return found && { size: found.size, offset: found.offset };
  }

  /** From an address to the end of the function that covers it, without what fills the space behind; else undefined. */
  bytesLeft(addr: Addr): number | undefined {
    const found = this.lookup(addr);
    if (!found) return undefined;
    const own = (found.ownSize ?? found.size) - found.offset;
    return own > 0 ? own : found.size - found.offset;
  }

  /** %pS: `name+0xoff/0xsize [module]`, or 0x and the address where no symbol covers it. */
  format(addr: Addr): string {
    const found = this.describe(addr);
    return found ? symbolText(found) : `0x${BigInt.asUintN(64, addr).toString(16)}`;
  }

  /** %pB: as %pS, for a return address: a call at the very end of a function belongs to it. */
  formatReturn(addr: Addr): string {
    const found = this.describe(addr - 1n);
    if (!found) return `0x${BigInt.asUintN(64, addr).toString(16)}`;
    return symbolText({ ...found, offset: found.offset + 1 });
  }

  /** Name of the function that covers the address, without offset. */
  nameOf(addr: Addr): string | undefined {
    return this.lookup(addr)?.name;
  }

  /** All symbols with their module, image first, then the module that came last. */
  *all(): IterableIterator<KernelSymbol & { module?: string }> {
    yield* this.#image?.listed() ?? [];
    for (const { module, symbols } of [...this.#modules.values()].reverse())
      for (const symbol of symbols.listed()) yield { ...symbol, module };
  }

  /** Those of a module, in the order of its symbol table; none of one that is not there. */
  ofModule(module: string): Iterable<KernelSymbol> {
    return this.#symbolsOf(module)?.listed() ?? [];
  }

  /** Their lines in /proc/kallsyms, in that order. */
  show(lines: SymbolLines): void {
    this.#imageListed?.show(lines, '');
    for (const { module, symbols } of [...this.#modules.values()].reverse())
      symbols.show(lines, `\t[${module}]`);
  }

  /** How many of the image are listed. */
  get imageCount(): number {
    return this.#imageListed?.count ?? 0;
  }

  #symbolsOf(module: string | undefined): ObjectSymbols | undefined {
    return module === undefined ? this.#image : this.#modules.get(module)?.symbols;
  }

  *#objects(): Generator<ObjectSymbols> {
    if (this.#image) yield this.#image;
    for (const { symbols } of this.#modules.values()) yield symbols;
  }
}

/** `name+0xoff/0xsize [module]` */
export function symbolText({ name, offset, size, toldSize, module }: ResolvedSymbol): string {
  const at = `${name}+0x${offset.toString(16)}/0x${(toldSize ?? size).toString(16)}`;
  return module === undefined ? at : `${at} [${module}]`;
}

/** A symbol over more pages than this has its table asked for every address. */
const MANY_PAGES = 1 << 14;

/** The tables that have a symbol on a page: so that a look-up costs the same for any number of modules. */
class TablesByPage {
  readonly #pages = new Map<number, ModuleTable[]>();
  #everywhere: readonly ModuleTable[] = [];

  add(table: ModuleTable): void {
    const pages = pagesOf(table);
    if (!pages) this.#everywhere = inOrder([...this.#everywhere, table]);
    for (const page of pages ?? []) this.#pages.set(page, inOrder([...(this.#pages.get(page) ?? []), table]));
  }

  remove(table: ModuleTable): void {
    this.#everywhere = this.#everywhere.filter((t) => t !== table);
    for (const page of pagesOf(table) ?? []) {
      const left = this.#pages.get(page)?.filter((t) => t !== table) ?? [];
      if (left.length > 0) this.#pages.set(page, left);
      else this.#pages.delete(page);
    }
  }

  /** First come, first asked. */
  at(addr: Addr): readonly ModuleTable[] {
    const here = this.#pages.get(pageOf(addr));
    if (this.#everywhere.length === 0) return here ?? NO_TABLES;
    return here ? inOrder([...here, ...this.#everywhere]) : this.#everywhere;
  }
}

const NO_TABLES: readonly ModuleTable[] = [];

function inOrder(tables: ModuleTable[]): ModuleTable[] {
  return tables.sort((a, b) => a.serial - b.serial);
}

/** Number of the page an address is on: exact, for it has 52 bits. */
function pageOf(addr: Addr): number {
  return hi32(addr) * 2 ** (32 - PAGE_SHIFT) + (lo32(addr) >>> PAGE_SHIFT);
}

/** Pages on which the table has a symbol; undefined when it has one that is too large to list. */
function pagesOf(table: ModuleTable): Set<number> | undefined {
  const pages = new Set<number>();
  for (const { addr, size } of table.symbols.symbols) {
    if (size <= 0) continue;
    if (size > MANY_PAGES << PAGE_SHIFT) return undefined;
    const last = pageOf(addr + BigInt(size - 1));
    for (let page = pageOf(addr); page <= last; page++) pages.add(page);
  }
  return pages;
}
