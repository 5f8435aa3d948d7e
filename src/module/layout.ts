// Where each section of a module goes: text, read-only data, read-only after init, writable data, each on pages
// of its own, for the core that stays and the init part that goes.
// Mirrors layout_sections() of kernel/module/main.c and layout_symtab() of kernel/module/kallsyms.c.

import {
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_RO_AFTER_INIT,
  SHF_WRITE,
  SHN_UNDEF,
  SYM_SIZE,
} from '../elf/constants.ts';
import type { ElfObject, ElfSection, ElfSymbol } from '../elf/elf_object.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import type { Structs } from '../kernel/description.ts';

export type Region = 'core' | 'init';

/** struct module_layout without its base: bytes from the base to the end of each part. */
export interface RegionLayout {
  size: number;
  textSize: number;
  roSize: number;
  roAfterInitSize: number;
}

export interface Place {
  readonly section: ElfSection;
  readonly region: Region;
  readonly offset: number;
}

/** Offsets of the symbol tables: the full one at the end of init, the cut-down one at the end of core. */
interface SymtabLayout {
  readonly initSymtab: number;
  readonly initStrtab: number;
  readonly initKallsyms: number;
  readonly initTypes: number;
  readonly coreSymtab: number;
  readonly coreStrtab: number;
  readonly coreTypes: number;
  /** Symbols of the full table that stay after init; the first is the null symbol. */
  readonly coreSymbols: readonly ElfSymbol[];
}

export interface ModuleLayout {
  readonly core: RegionLayout;
  readonly init: RegionLayout;
  /** By section index, for sections that are loaded. */
  readonly places: ReadonlyMap<number, Place>;
  readonly symtab: SymtabLayout;
}

/** Each pass takes the sections that have all of the first flags and none of the second. */
const MASKS: readonly (readonly [number, number])[] = [
  [SHF_EXECINSTR | SHF_ALLOC, 0],
  [SHF_ALLOC, SHF_WRITE],
  [SHF_RO_AFTER_INIT | SHF_ALLOC, 0],
  [SHF_WRITE | SHF_ALLOC, 0],
  [SHF_ALLOC, 0],
];

/** The one of writable data, which what has none of the flags follows at once. */
const DATA_PASS = 3;

/** Not kept in memory though allocatable: read once by the loader, or copied elsewhere. */
const NOT_LOADED = new Set(['.modinfo', '__versions', '.data..percpu']);
/** Writable until init has run. */
const RO_AFTER_INIT = new Set(['.data..ro_after_init', '__jump_table']);

/** The flags that the loader goes by, which differ from the file's for a few sections. */
export function loadFlags(section: ElfSection): number {
  if (NOT_LOADED.has(section.name)) return section.flags & ~SHF_ALLOC;
  return RO_AFTER_INIT.has(section.name) ? section.flags | SHF_RO_AFTER_INIT : section.flags;
}

/** @param keepAll all symbols stay after init, as livepatch modules need it */
export function layoutModule(elf: ElfObject, keepAll: boolean, structs: Structs): ModuleLayout {
  const places = new Map<number, Place>();
  // As one of several allocations writable data has the symbol tables directly behind it.
  const lastPadded = structs.module.fields.mem === undefined ? MASKS.length : DATA_PASS;
  const core = layoutRegion(elf, 'core', places, lastPadded);
  const init = layoutRegion(elf, 'init', places, lastPadded);
  const symtab = layoutSymtab(elf, core, init, places, { keepAll, structs });
  return { core, init, places, symtab };
}

function layoutRegion(
  elf: ElfObject,
  region: Region,
  places: Map<number, Place>,
  lastPadded: number,
): RegionLayout {
  const layout: RegionLayout = { size: 0, textSize: 0, roSize: 0, roAfterInitSize: 0 };
  MASKS.forEach(([all, none], pass) => {
    for (const section of elf.sections) {
      const flags = loadFlags(section);
      if ((flags & all) !== all || flags & none || places.has(section.index)) continue;
      if (section.name.startsWith('.init') !== (region === 'init')) continue;
      const offset = takeSpace(layout, section.size, section.align);
      places.set(section.index, { section, region, offset });
    }
    if (pass !== DATA_PASS && pass < lastPadded) layout.size = pageAlign(layout.size);
    if (pass === 0) layout.textSize = layout.size;
    if (pass === 1) layout.roSize = layout.size;
    // Nothing of init outlives it, so there is nothing to protect after it.
    if (pass === 2) layout.roAfterInitSize = region === 'core' ? layout.size : layout.roSize;
  });
  return layout;
}

function layoutSymtab(
  elf: ElfObject,
  core: RegionLayout,
  init: RegionLayout,
  places: Map<number, Place>,
  { keepAll, structs }: { keepAll: boolean; structs: Structs },
): SymtabLayout {
  const { symtab, strtab, symbols } = elf;
  if (!symtab || !strtab) throw elf.error('module has no symbols (stripped?)');
  const initSymtab = takeSpace(init, symtab.size, symtab.align);
  places.set(symtab.index, { section: symtab, region: 'init', offset: initSymtab });
  const coreSymbols = symbols.filter((s, i) => i === 0 || keepAll || isCoreSymbol(s, places));
  const coreSymtab = align(core.size, symtab.align);
  const coreStrtab = coreSymtab + coreSymbols.length * SYM_SIZE;
  const coreTypes = coreStrtab + coreSymbols.reduce((sum, s) => sum + s.name.length + 1, 0);
  core.size = pageAlign(coreTypes + coreSymbols.length);
  const initStrtab = takeSpace(init, strtab.size, strtab.align);
  places.set(strtab.index, { section: strtab, region: 'init', offset: initStrtab });
  const initKallsyms = align(init.size, 8);
  const initTypes = initKallsyms + structs.mod_kallsyms.size;
  init.size = pageAlign(initTypes + symbols.length);
  return { initSymtab, initStrtab, initKallsyms, initTypes, coreSymtab, coreStrtab, coreTypes, coreSymbols };
}

/** is_core_symbol() with CONFIG_KALLSYMS_ALL: what stays visible after init. */
function isCoreSymbol(symbol: ElfSymbol, places: ReadonlyMap<number, Place>): boolean {
  if (symbol.shndx === SHN_UNDEF || !symbol.section || symbol.name === '') return false;
  if (symbol.section.name === '.data..percpu') return true;
  return places.get(symbol.shndx)?.region === 'core';
}

/** module_get_offset() */
function takeSpace(layout: RegionLayout, size: number, alignment: number): number {
  const offset = align(layout.size, alignment);
  layout.size = offset + size;
  return offset;
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

function pageAlign(value: number): number {
  return align(value, PAGE_SIZE);
}
