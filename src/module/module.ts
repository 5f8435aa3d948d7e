// One loaded module: struct module in guest memory, and what the loader knows about it beside that.
// Mirrors struct module of include/linux/module.h.
//
// Invariant: a field that guest code can read lives only in guest memory.

import type { Table } from '../arch/module_text.ts';
import type { ElfObject, ElfSymbol } from '../elf/elf_object.ts';
import type { ModInfo } from '../elf/modinfo.ts';
import type { OrcTable } from '../elf/orc.ts';
import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { KernelDescription, Structs } from '../kernel/description.ts';
import type { StructHome } from '../kernel/struct_home.ts';
import { type SymtabAddresses, symbolValue, symtabAddresses, writeSymbolValue } from './kallsyms.ts';
import type { ModuleLayout, Place, Region, RegionLayout } from './layout.ts';
import { type ModuleMemory, moduleMemory } from './module_memory.ts';
import type { JumpEntry, StaticCallSite } from './patch_sites.ts';
import { moduleTaintLetters, type TaintName, taintBit } from './taint.ts';

type ModuleState = 'LIVE' | 'COMING' | 'GOING' | 'UNFORMED';

/** The kernel has a MODULE_STATE_ constant for each. */
const STATES: readonly ModuleState[] = ['LIVE', 'COMING', 'GOING', 'UNFORMED'];

/** MODULE_REF_BASE: what the loader itself holds. */
export const MODULE_REF_BASE = 1;

/** What became of a section that wants something done at load time. */
interface SectionReport {
  readonly section: string;
  readonly applied: boolean;
  readonly entries: number;
  /** What was done, or why nothing was. */
  readonly note: string;
}

export interface ModuleExport {
  readonly name: string;
  readonly addr: Addr;
  readonly gpl: boolean;
  readonly crc: number | undefined;
  readonly namespace: string | undefined;
}

/** Of those that every kernel's description has, or names as absent. */
type ModuleField = Exclude<keyof Structs['module']['fields'], 'mem' | 'flagstab' | 'mkobj'>;

interface ModuleParts {
  readonly name: string;
  readonly elf: ElfObject;
  readonly info: ModInfo;
  readonly layout: ModuleLayout;
  readonly addr: Addr;
  readonly coreBase: Addr;
  readonly initBase: Addr;
}

export class Module {
  readonly name: string;
  readonly elf: ElfObject;
  readonly info: ModInfo;
  readonly layout: ModuleLayout;
  /** Address of its struct module. */
  readonly addr: Addr;
  /** Names of sections to where they were put; the first of a name. */
  readonly sections: ReadonlyMap<string, Table>;
  /** The last of a name, which module_finalize() goes by. */
  readonly lastSections: ReadonlyMap<string, Table>;
  exports: readonly ModuleExport[] = [];
  /** Addresses of the fentry sites, from __mcount_loc, ascending. */
  fentrySites: readonly Addr[] = [];
  orc: OrcTable | undefined;
  jumpEntries: readonly JumpEntry[] = [];
  staticCallSites: readonly StaticCallSite[] = [];
  readonly reports: SectionReport[] = [];
  /** Modules that use this one's symbols (source_list), and those whose symbols it uses (target_list). */
  readonly users = new Set<Module>();
  readonly uses = new Set<Module>();
  /** Its symbol tables in guest memory. */
  readonly kallsyms: { readonly core: SymtabAddresses; readonly init: SymtabAddresses };
  /** The copy of its parameters, which struct module has as `args` up to 6.x. */
  args: Addr = 0n;
  /** Its memory was given back. */
  freed = false;
  /** In memory and relocated, its text without execute permission. */
  paused = false;
  /** User space has paused it, and holds it by a handle. */
  held = false;
  /** The object that it patches as a bundle's member: vmlinux or a module's name. */
  patches: string | undefined;
  readonly #mem: GuestMemory;
  readonly #kernel: KernelDescription;
  readonly #fields: Structs['module']['fields'];
  readonly #memory: ModuleMemory;
  readonly #coreBase: Addr;

  constructor({ mem, kernel }: StructHome, parts: ModuleParts) {
    this.#mem = mem;
    this.#kernel = kernel;
    this.#fields = kernel.structs.module.fields;
    this.name = parts.name;
    this.elf = parts.elf;
    this.info = parts.info;
    this.layout = parts.layout;
    this.addr = parts.addr;
    this.#memory = moduleMemory({ mem, kernel }, parts.addr);
    this.#coreBase = parts.coreBase;
    this.sections = sectionTables(parts, 'first');
    this.lastSections = sectionTables(parts, 'last');
    const { layout, elf, coreBase, initBase } = parts;
    this.kallsyms = symtabAddresses(layout, elf.symbols.length, coreBase, initBase);
  }

  get state(): ModuleState {
    return this.freed ? 'UNFORMED' : this.#stateOf(this.#mem.readU32(this.addr + BigInt(this.#fields.state)));
  }
  set state(value: ModuleState) {
    this.#mem.writeU32(
      this.addr + BigInt(this.#fields.state),
      this.#kernel.constants[`MODULE_STATE_${value}`],
    );
  }

  #stateOf(number: number): ModuleState {
    const { constants } = this.#kernel;
    return STATES.find((state) => constants[`MODULE_STATE_${state}`] === number) ?? 'UNFORMED';
  }

  /** Whether it is a livepatch module (is_livepatch_module()). */
  get isLivepatch(): boolean {
    return this.#mem.readU8(this.addr + BigInt(this.#fields.klp)) !== 0;
  }
  /** Set by the livepatch core once it knows the module as an object to patch. */
  get klpAlive(): boolean {
    return this.#mem.readU8(this.addr + BigInt(this.#fields.klp_alive)) !== 0;
  }
  set klpAlive(value: boolean) {
    this.#mem.writeU8(this.addr + BigInt(this.#fields.klp_alive), value ? 1 : 0);
  }

  get usingGplOnlySymbols(): boolean {
    return this.#mem.readU8(this.addr + BigInt(this.#fields.using_gplonly_symbols)) !== 0;
  }
  set usingGplOnlySymbols(value: boolean) {
    this.#mem.writeU8(this.addr + BigInt(this.#fields.using_gplonly_symbols), value ? 1 : 0);
  }

  /** TAINT_ bits. */
  get taints(): number {
    return this.#mem.readU32(this.addr + BigInt(this.#fields.taints));
  }
  set taints(value: number) {
    this.#mem.writeU32(this.addr + BigInt(this.#fields.taints), value);
  }
  hasTaint(name: TaintName): boolean {
    return (this.taints & taintBit(this.#kernel, name)) !== 0;
  }
  /** As in /proc/modules: `OEK`. */
  get taintLetters(): string {
    return moduleTaintLetters(this.#kernel, this.taints);
  }

  /** refcnt as stored: 0 while unloading, MODULE_REF_BASE when nobody uses it. */
  get refcnt(): number {
    return this.#mem.readS32(this.addr + BigInt(this.#fields.refcnt));
  }
  set refcnt(value: number) {
    this.#mem.writeU32(this.addr + BigInt(this.#fields.refcnt), value >>> 0);
  }
  /** module_refcount(): references in use; -1 if it is being unloaded. */
  get refcount(): number {
    return this.refcnt - MODULE_REF_BASE;
  }

  /** Address of the init or exit function; 0 for none. */
  get init(): Addr {
    return this.#mem.readU64(this.addr + BigInt(this.#fields.init));
  }
  get exit(): Addr {
    return this.#mem.readU64(this.addr + BigInt(this.#fields.exit));
  }

  /** Base of a region; 0 for init once it was freed. */
  base(region: Region): Addr {
    if (this.freed) return region === 'core' ? this.#coreBase : 0n;
    return this.#memory.base(region);
  }
  size(region: Region): number {
    return this.freed ? 0 : this.#memory.size(region);
  }
  textSize(region: Region): number {
    return this.freed ? 0 : this.#memory.textSize(region);
  }
  /** What struct module says from now on of a region. */
  writeRegion(region: Region, base: Addr, layout: RegionLayout): void {
    this.#memory.write(region, base, layout);
  }

  /** within_module() */
  contains(addr: Addr): boolean {
    return this.#within(addr, 'core', this.size('core')) || this.#within(addr, 'init', this.size('init'));
  }
  /** Is the address in text, of core or of an init part that is still there? */
  containsText(addr: Addr): boolean {
    return (
      this.#within(addr, 'core', this.textSize('core')) || this.#within(addr, 'init', this.textSize('init'))
    );
  }
  /** within_module_init() */
  containsInit(addr: Addr): boolean {
    return this.#within(addr, 'init', this.size('init'));
  }

  #within(addr: Addr, region: Region, size: number): boolean {
    const base = this.base(region);
    return base !== 0n && addr >= base && addr < base + BigInt(size);
  }

  /** A field of struct module by its name in the kernel's description. */
  writeField(field: ModuleField, value: bigint | number): void {
    this.#mem.writeU64(this.addr + BigInt(this.#fields[field]), BigInt(value));
  }
  writeField32(field: ModuleField, value: number): void {
    this.#mem.writeU32(this.addr + BigInt(this.#fields[field]), value);
  }

  /** Indexes in the object's symbol table that count now: all until init has run, then what stays. */
  get symbolTable(): SymtabAddresses {
    return this.size('init') > 0 ? this.kallsyms.init : this.kallsyms.core;
  }

  /** The symbols that `symbolTable` is about, in its order. */
  get symbols(): readonly ElfSymbol[] {
    return this.symbolTable === this.kallsyms.init ? this.elf.symbols : this.layout.symtab.coreSymbols;
  }

  /** st_value of a symbol in memory, by its index in the object's table; 0 for one that went with init. */
  symbolValue(index: number): Addr {
    const at = this.#position(index);
    return at < 0 ? 0n : symbolValue(this.#mem, this.symbolTable, at);
  }

  /** klp_resolve_symbols() writes the values of SHN_LIVEPATCH symbols, into every table that holds them. */
  setSymbolValue(index: number, value: Addr): void {
    const { init, core } = this.kallsyms;
    if (this.symbolTable === init) writeSymbolValue(this.#mem, init, index, value);
    const at = this.layout.symtab.coreSymbols.findIndex((s) => s.index === index);
    if (at >= 0) writeSymbolValue(this.#mem, core, at, value);
  }

  #position(index: number): number {
    return this.symbols[index]?.index === index ? index : this.symbols.findIndex((s) => s.index === index);
  }

  /**
   * Values of all symbols of a name in symbol table order, undefined ones left out: the order by which sympos
   * counts.
   */
  symbolsNamed(name: string): readonly Addr[] {
    const table = this.symbolTable;
    const found: Addr[] = [];
    this.symbols.forEach((symbol, i) => {
      if (symbol.name === name && symbol.shndx !== 0) found.push(symbolValue(this.#mem, table, i));
    });
    return found;
  }

  toString(): string {
    return this.name;
  }
}

/** By index, as the kernel walks them. */
function placesInOrder(layout: ModuleLayout): Place[] {
  return [...layout.places.values()].sort((a, b) => a.section.index - b.section.index);
}

function sectionTables(
  { layout, coreBase, initBase }: ModuleParts,
  which: 'first' | 'last',
): ReadonlyMap<string, Table> {
  const tables = new Map<string, Table>();
  for (const { section, region, offset } of placesInOrder(layout)) {
    if (which === 'first' && tables.has(section.name)) continue;
    const addr = (region === 'core' ? coreBase : initBase) + BigInt(offset);
    tables.set(section.name, { addr, size: section.size });
  }
  return tables;
}
