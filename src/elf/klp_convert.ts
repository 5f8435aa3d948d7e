// From a livepatch module with unresolved symbols to one whose symbols livepatch resolves: relocations against them
// in `.klp.rela.OBJECT.SECTION` sections, symbols named `.klp.sym.OBJECT.SYMBOL,POSITION`.
// Mirrors what Documentation/livepatch/module-elf-format.rst lays down, and the idea of the kernel's proposed
// scripts/livepatch/klp-convert.c: annotations in `.klp.module_relocs.OBJECT` sections, or a list.
//
// Invariant: sections and symbols keep their indexes; every relocation is in the output once, in one or the other
// kind of section; none is put where the kernel would apply it too late, unless
// the module is split before it is loaded.

import {
  RELA_SIZE,
  SHF_ALLOC,
  SHF_INFO_LINK,
  SHF_RELA_LIVEPATCH,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  SHT_PROGBITS,
  SHT_RELA,
  SYM_SIZE,
} from './constants.ts';
import type { ElfObject, ElfRelocation, ElfSection, ElfSymbol } from './elf_object.ts';
import { rewriteElf, type SectionChange } from './elf_writer.ts';
import { EarlyPlaces } from './klp_early.ts';
import { type KlpSymbol, klpSymbolName } from './klp_symbols.ts';
import { readModInfo } from './modinfo.ts';
import { objectKind } from './object_kind.ts';

const ANNOTATIONS = '.klp.module_relocs.';

export interface KlpConversion {
  readonly bytes: Uint8Array;
  /** Symbols that livepatch resolves now, in symbol table order, and how many relocations use each. */
  readonly converted: readonly (KlpSymbol & { readonly relocations: number })[];
  /** Names of the new sections, and their relocations. */
  readonly sections: readonly { readonly name: string; readonly relocations: number }[];
  /** Unresolved symbols that were left alone: the kernel or a module must export them. */
  readonly unresolved: readonly string[];
  /** Lines of the list that name no unresolved symbol of the module: `OBJECT.SYMBOL`. */
  readonly unmatched: readonly string[];
}

/**
 * @param listed where symbols are, by name
 * @param forSplit it becomes a bundle, in which nothing is resolved too late; before that it is not to be loaded
 * @throws ElfError
 */
export function klpConvert(
  elf: ElfObject,
  listed: ReadonlyMap<string, readonly KlpSymbol[]>,
  { forSplit = false } = {},
): KlpConversion {
  const { symtab, strtab } = elf;
  const kind = objectKind(elf);
  if (kind !== undefined) throw elf.error(`it is ${kind}`);
  if (!symtab || !strtab) throw elf.error('no symbol table');
  if (!readModInfo(elf).has('livepatch')) throw elf.error("not a livepatch: no 'livepatch=' in .modinfo");
  const annotations = readAnnotations(elf);
  const resolve = resolver(elf, annotations.symbols, listed);
  const converted = new Map<number, KlpSymbol>();
  const unresolved: string[] = [];
  for (const symbol of elf.symbols) {
    if (symbol.index === 0 || symbol.shndx !== SHN_UNDEF || symbol.name === '') continue;
    const target = resolve(symbol);
    if (target) converted.set(symbol.index, target);
    else unresolved.push(symbol.name);
  }
  const split = splitRelocations(elf, converted, annotations.sections, !forSplit);
  const counts = new Map<number, number>();
  for (const { rows } of split.added) {
    for (const { symbol } of rows) counts.set(symbol.index, (counts.get(symbol.index) ?? 0) + 1);
  }
  const changes = [
    ...renamedSymbols(elf, symtab, strtab, converted),
    ...split.left.map(({ rela, rows }) => ({
      ...relaChange(symtab, rela.name, rela.flags, rela.info, rows),
      index: rela.index,
    })),
    ...split.added.map(({ name, info, rows }) => ({
      ...relaChange(symtab, name, SHF_RELA_LIVEPATCH | SHF_ALLOC | SHF_INFO_LINK, info, rows),
      added: true as const,
    })),
    ...annotations.sections.map((section) => emptied(section)),
  ];
  return {
    bytes: Buffer.concat(rewriteElf(elf, changes)),
    converted: [...converted].map(([index, { object, name, sympos }]) => ({
      object,
      name,
      sympos,
      relocations: counts.get(index) ?? 0,
    })),
    sections: split.added.map(({ name, rows }) => ({ name, relocations: rows.length })),
    unresolved,
    unmatched: unmatched(elf, listed),
  };
}

/** A list by object is a catalogue, of which most is not meant. */
function unmatched(elf: ElfObject, listed: ReadonlyMap<string, readonly KlpSymbol[]>): string[] {
  const wanted = new Set(elf.symbols.filter((s) => s.shndx === SHN_UNDEF).map((s) => s.name));
  return [...listed.values()]
    .flat()
    .filter(({ name, catalogued }) => catalogued !== true && !wanted.has(name))
    .map(({ object, name }) => `${object}.${name}`);
}

/** KLP_MODULE_RELOC(object): packed entries of a pointer to the symbol and its position. */
function readAnnotations(elf: ElfObject): {
  symbols: ReadonlyMap<number, KlpSymbol>;
  sections: readonly ElfSection[];
} {
  const symbols = new Map<number, KlpSymbol>();
  const sections = elf.sections.filter((s) => s.type === SHT_PROGBITS && s.name.startsWith(ANNOTATIONS));
  for (const section of sections) {
    const object = section.name.slice(ANNOTATIONS.length);
    const view = elf.view(section);
    for (const { offset, symbol } of elf.relocations(section.index)) {
      if (offset + 12 > section.size)
        throw elf.error('an annotation without its position', section.name, offset);
      if (symbol.shndx !== SHN_UNDEF) {
        throw elf.error(
          `'${elf.symbolLabel(symbol)}' is annotated, and is the module's own`,
          section.name,
          offset,
        );
      }
      symbols.set(symbol.index, { object, name: symbol.name, sympos: view.getUint32(offset + 8, true) });
    }
  }
  return { symbols, sections };
}

function resolver(
  elf: ElfObject,
  annotated: ReadonlyMap<number, KlpSymbol>,
  listed: ReadonlyMap<string, readonly KlpSymbol[]>,
): (symbol: ElfSymbol) => KlpSymbol | undefined {
  return (symbol) => {
    const own = annotated.get(symbol.index);
    if (own) return own;
    const candidates = listed.get(symbol.name) ?? [];
    if (candidates.length < 2) return candidates[0];
    const where = candidates.map((one) => `${one.object}.${one.name},${one.sympos}`).join(' ');
    throw elf.error(`'${symbol.name}' is in the list more than once (${where}): annotate it`, '.symtab');
  };
}

interface Added {
  readonly name: string;
  readonly info: number;
  readonly rows: ElfRelocation[];
}

/** The relocations that stay, of sections that lose some; and those of each object and section. */
function splitRelocations(
  elf: ElfObject,
  converted: ReadonlyMap<number, KlpSymbol>,
  annotations: readonly ElfSection[],
  checks: boolean,
): { left: { rela: ElfSection; rows: readonly ElfRelocation[] }[]; added: Added[] } {
  const left: { rela: ElfSection; rows: readonly ElfRelocation[] }[] = [];
  const added = new Map<string, Added>();
  const early = new EarlyPlaces(elf);
  for (const rela of elf.relaSections) {
    if (rela.flags & SHF_RELA_LIVEPATCH) continue;
    const target = elf.sections[rela.info];
    const rows = elf.relocationTable(rela.index);
    if (annotations.includes(target)) {
      left.push({ rela, rows: [] });
      continue;
    }
    // Where nothing is loaded (debug information) livepatch would write into memory that is no longer there.
    if (!(target.flags & SHF_ALLOC)) continue;
    const rest = rows.filter((row) => !converted.has(row.symbol.index));
    if (rest.length === rows.length) continue;
    left.push({ rela, rows: rest });
    for (const row of rows) {
      const symbol = converted.get(row.symbol.index);
      if (!symbol) continue;
      if (checks) checkPlace(elf, early, target, row, symbol);
      const name = `.klp.rela.${symbol.object}.${target.name}`;
      const key = `${target.index} ${name}`;
      const section = added.get(key) ?? { name, info: target.index, rows: [] };
      section.rows.push(row);
      added.set(key, section);
    }
  }
  return { left, added: [...added.values()] };
}

function checkPlace(
  elf: ElfObject,
  early: EarlyPlaces,
  target: ElfSection,
  row: ElfRelocation,
  symbol: KlpSymbol,
): void {
  const why = early.reason(target, row, symbol.object);
  if (why === undefined) return;
  const reason = `'${symbol.name}' of ${symbol.object} cannot be resolved here: ${why}`;
  throw elf.error(reason, target.name, row.offset);
}

/** The symbols under their new names, at the end of the string table. */
function renamedSymbols(
  elf: ElfObject,
  symtab: ElfSection,
  strtab: ElfSection,
  converted: ReadonlyMap<number, KlpSymbol>,
): SectionChange[] {
  const symbols = elf.data(symtab).slice();
  const view = new DataView(symbols.buffer, symbols.byteOffset, symbols.length);
  const strings: Uint8Array[] = [elf.data(strtab)];
  let end = strtab.size;
  for (const [index, symbol] of converted) {
    const name = Buffer.from(`${klpSymbolName(symbol)}\0`, 'latin1');
    view.setUint32(index * SYM_SIZE, end, true);
    view.setUint16(index * SYM_SIZE + 6, SHN_LIVEPATCH, true);
    strings.push(name);
    end += name.length;
  }
  return [
    { ...kept(symtab), data: symbols },
    { ...kept(strtab), data: Buffer.concat(strings) },
  ];
}

/** A section's header, as a change that changes only what is in it. */
function kept({ index, name, type, flags, align, entsize, link, info }: ElfSection) {
  return { index, name, type, flags, align, entsize, linkIndex: link, infoIndex: info };
}

function relaChange(
  symtab: ElfSection,
  name: string,
  flags: number,
  info: number,
  rows: readonly ElfRelocation[],
): SectionChange {
  const data = new Uint8Array(rows.length * RELA_SIZE);
  const view = new DataView(data.buffer);
  rows.forEach((row, i) => {
    view.setBigUint64(i * RELA_SIZE, BigInt(row.offset), true);
    view.setUint32(i * RELA_SIZE + 8, row.type, true);
    view.setUint32(i * RELA_SIZE + 12, row.symbol.index, true);
    view.setBigInt64(i * RELA_SIZE + 16, row.addend, true);
  });
  return {
    name,
    type: SHT_RELA,
    flags,
    align: 8,
    entsize: RELA_SIZE,
    linkIndex: symtab.index,
    infoIndex: info,
    data,
  };
}

/** An annotation has done its work: nothing of it is loaded. */
function emptied({ index, name, align }: ElfSection): SectionChange {
  return { index, name, type: SHT_PROGBITS, flags: 0, align, entsize: 0, data: new Uint8Array(0) };
}
