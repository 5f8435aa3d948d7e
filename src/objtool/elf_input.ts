// An object file or module as input for the ORC generator: symbols, relocations, and what its
// special sections say.
// Mirrors the reading half of tools/objtool/elf.c; special_sections.ts has special.c.

import { type CodeArch, INSN_BUG } from '../arch/code.ts';
import type { OrcFormat } from '../arch/orc.ts';
import { SHF_EXECINSTR, SHT_RELA } from '../elf/constants.ts';
import type { ElfObject, ElfSection } from '../elf/elf_object.ts';
import { readModInfo } from '../elf/modinfo.ts';
import { ElfTables } from './elf_tables.ts';
import {
  BIND_LOCAL,
  type CodeHint,
  type CodeMark,
  type CodeSection,
  type ObjtoolInput,
  SYM_FUNC,
  SYM_NOTYPE,
  SymbolTable,
} from './input.ts';
import { LATER_NORETURNS } from './noreturn.ts';
import { isReplacement, SpecialSections } from './special_sections.ts';
import { SymbolRanges } from './symbol_ranges.ts';
import { wasKernel } from './vmlinux.ts';

const isText = (section: ElfSection): boolean => (section.flags & SHF_EXECINSTR) !== 0;

const isRodata = (name: string): boolean => name.startsWith('.rodata') && !name.includes('.str1.');

/**
 * `format`: of the object's ORC table, where that is known otherwise than by what the object says of its kernel.
 * @throws ElfError for tables that contradict the object
 */
export function inputFromElf(elf: ElfObject, arch: CodeArch, format?: OrcFormat): ObjtoolInput {
  checkSizes(elf);
  const tables = ElfTables.of(elf);
  const known = kernelVersion(elf);
  const version = known ?? leastVersion(elf, format);
  const special = new SpecialSections(elf, tables, arch, { version, isKnown: known !== undefined }, format);
  const sections = elf.sections.map((section): CodeSection => {
    const { index, name } = section;
    const [text, rodata] = [isText(section), isRodata(name)];
    const bytes = text ? elf.data(section) : NO_BYTES;
    const replacement = isReplacement(name) || name.startsWith('.discard.');
    const relocs = text || rodata ? tables.relocs(index) : undefined;
    return { name, bytes, text, rodata, replacement, relocs };
  });
  const symbols = withUnnamedFunctions(elf, tables.symbols, special, arch);
  return {
    arch,
    sections,
    symbols,
    ...(wasKernel(elf) ? { isLinked: true } : {}),
    unnamed: tables.symbols.count,
    hints: [...special.hints(), ...guestHints(elf, sections, symbols, arch)],
    noreturn: version >= 602 ? LATER_NORETURNS : new Set(),
    deadEnds: special.deadEnds(),
    reachable: [...special.reachable(), ...warnTraps(elf, sections, arch)],
    alternatives: special.alternatives(),
    sharedOriginals: version >= 604,
    ignored: special.ignored(),
    ignoredAlternatives: special.ignoredAlternatives(),
    ignoredArms: special.ignoredArms(),
    unsureArms: special.unsureArms(),
    innerCalls: special.innerCalls(),
  };
}

/** Almost every site is where a function starts. */
function unnamedSites(elf: ElfObject, symbols: SymbolTable, sites: readonly CodeMark[]): CodeMark[] {
  const { count, type, section, value } = symbols;
  const starts = new Map<number, Uint8Array>();
  for (const { section: index } of sites) {
    if (!starts.has(index)) starts.set(index, new Uint8Array(elf.data(elf.sections[index]).length + 1));
  }
  for (let s = 1; s < count; s++) {
    const marks = type[s] === SYM_FUNC ? starts.get(section[s]) : undefined;
    if (marks) marks[value[s]] = 1;
  }
  return sites.filter(({ section: index, offset }) => starts.get(index)?.[offset] === 0);
}

/** Sections that lie over each other may claim any amount of text and tables. */
function checkSizes(elf: ElfObject): void {
  const sum = (wanted: (section: ElfSection) => boolean): number =>
    elf.sections.reduce((total, section) => total + (wanted(section) ? elf.data(section).length : 0), 0);
  if (sum(isText) > elf.bytes.length) throw elf.error('text sections overlap');
  if (sum((section) => section.type === SHT_RELA) > elf.bytes.length) {
    throw elf.error('relocation tables overlap');
  }
}

const NO_BYTES = new Uint8Array(0);

/**
 * The kernel that a module was built for, or that a kernel is, as 100 times the major number plus the minor; undefined
 * in a `.o`.
 */
export function kernelVersion(elf: ElfObject): number | undefined {
  const magic = readModInfo(elf).get('vermagic');
  const match = /^(?:Linux version )?(\d+\.\d+)/.exec(magic ?? banner(elf));
  return match ? versionOf(match[1]) : undefined;
}

/** What a kernel calls itself. */
function banner(elf: ElfObject): string {
  const symbol = elf.symbol('linux_banner');
  if (!symbol?.section) return '';
  return elf.stringAt(symbol.section, Number(symbol.value)) ?? '';
}

/** Of an object that does not say: no kernel before that one has such a table. */
function leastVersion(elf: ElfObject, format: OrcFormat | undefined): number {
  const least = elf.section('.orc_header') ? 603 : 0;
  return format === undefined ? least : Math.max(least, versionOf(format));
}

function versionOf(text: string): number {
  const [major, minor] = text.split('.');
  return Number(major) * 100 + Number(minor);
}

/**
 * A weak function that another one overrides loses its symbol when the module is linked, and keeps its code;
 * ftrace's list of calls to __fentry__ shows where it starts.
 */
function withUnnamedFunctions(
  elf: ElfObject,
  symbols: SymbolTable,
  special: SpecialSections,
  arch: CodeArch,
): SymbolTable {
  const sites = unnamedSites(elf, symbols, special.fentrySites());
  if (sites.length === 0) return symbols;
  const funcs = new SymbolRanges(symbols, (s) => symbols.type[s] === SYM_FUNC);
  const starts = sites
    .filter(({ section, offset }) => !funcs.covers(section, offset))
    .map((site) => ({
      ...site,
      offset: arch.functionStart(elf.data(elf.sections[site.section]), site.offset),
    }));
  if (starts.length === 0) return symbols;
  starts.sort((a, b) => a.section - b.section || a.offset - b.offset);
  const end = (i: number): number => {
    const [mark, next] = [starts[i], starts[i + 1]];
    const limit = funcs.next(mark.section, mark.offset) ?? elf.sections[mark.section].size;
    return next?.section === mark.section ? Math.min(limit, next.offset) : limit;
  };
  const { count } = symbols;
  const table = new SymbolTable(count + starts.length, (i) => {
    if (i < count) return symbols.name(i);
    const { section, offset } = starts[i - count];
    return `${elf.sections[section].name}+0x${offset.toString(16)}`;
  });
  table.section.set(symbols.section);
  table.value.set(symbols.value);
  table.size.set(symbols.size);
  table.type.set(symbols.type);
  table.bind.set(symbols.bind);
  starts.forEach(({ section, offset }, i) => {
    table.set(count + i, section, offset, end(i) - offset, SYM_FUNC, BIND_LOCAL);
  });
  return table;
}

/** WARN() of 7.x calls this one, whose trap comes back: the source says so. */
const WARN_TRAP = '__WARN_trap';
/** It is among its first instructions. */
const MOST_BEFORE_TRAP = 4;

function warnTraps(elf: ElfObject, sections: readonly CodeSection[], arch: CodeArch): CodeMark[] {
  const symbol = elf.symbol(WARN_TRAP);
  const section = symbol?.section?.index;
  if (symbol?.type !== SYM_FUNC || section === undefined || !sections[section].text) return [];
  const { bytes } = sections[section];
  const decoder = arch.decoder();
  let offset = Number(symbol.value);
  for (let i = 0; i < MOST_BEFORE_TRAP && offset < bytes.length; i++, offset += decoder.length) {
    decoder.decode(bytes, offset);
    if (decoder.length === 0) return [];
    if (decoder.type === INSN_BUG) return [{ section, offset }];
  }
  return [];
}

/** From vmresume over the failure's jumps and vmlaunch. */
const GUEST_ENTRY_DISTANCE = 64;

/**
 * A guest that exits comes back at vmx_vmexit, to which no branch leads, with the stack as it was at vmresume.
 * The source says so with hints, which a module no longer has.
 */
function guestHints(
  elf: ElfObject,
  sections: readonly CodeSection[],
  symbols: SymbolTable,
  arch: CodeArch,
): CodeHint[] {
  const exit = findLabel(sections, symbols, 'vmx_vmexit');
  if (exit === 0) return [];
  const [section, offset] = [symbols.section[exit], symbols.value[exit]];
  const bytes = elf.data(elf.sections[section]);
  for (let at = offset; at >= 0 && at > offset - GUEST_ENTRY_DISTANCE; at--) {
    if (!arch.isGuestEntry(bytes, at)) continue;
    const place = { section, base: '', frameOffset: 0 };
    return [
      { ...place, offset: at, kind: 'save' },
      { ...place, offset, kind: 'restore' },
    ];
  }
  return [];
}

/** A place in text that is no function. */
function findLabel(sections: readonly CodeSection[], symbols: SymbolTable, name: string): number {
  for (let s = 1; s < symbols.count; s++) {
    if (symbols.type[s] !== SYM_NOTYPE || symbols.size[s] !== 0) continue;
    if (sections[symbols.section[s]].text && symbols.name(s) === name) return s;
  }
  return 0;
}
