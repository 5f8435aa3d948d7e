// A relocatable object: its sections, symbols and relocations, each checked before it is handed out.
// Mirrors elf_validity_check() of kernel/module/main.c, and checks what the kernel takes on trust.
//
// Invariant: whatever the bytes, an accessor returns values that lie inside the file or throws ElfError;
// nothing is allocated in proportion to a number that the file merely claims.

import {
  RELA_SIZE,
  SHF_RELA_LIVEPATCH,
  SHT_NOBITS,
  SHT_RELA,
  SHT_SYMTAB,
  STT_SECTION,
  SYM_SIZE,
} from './constants.ts';
import { ElfError } from './error.ts';
import type { ElfMachine } from './machine.ts';
import { type ElfHeader, type ElfSection, parseHeader, parseSections } from './sections.ts';
import { StringTable } from './string_table.ts';
import { SymbolSections } from './symbol_sections.ts';

export type { ElfHeader, ElfSection } from './sections.ts';

export interface ElfSymbol {
  readonly index: number;
  /** As stored; empty for section symbols. */
  readonly name: string;
  /** Raw st_shndx: SHN_UNDEF, SHN_ABS, SHN_LIVEPATCH... or a section's index. */
  readonly shndx: number;
  /** The section that st_shndx names; undefined for special and invalid indexes. */
  readonly section: ElfSection | undefined;
  /** In an object file: offset in the section, or the value itself for SHN_ABS. */
  readonly value: bigint;
  readonly size: number;
  /** STT_* */
  readonly type: number;
  /** STB_* */
  readonly bind: number;
}

export interface ElfRelocation {
  /** Offset in the section that is relocated. */
  readonly offset: number;
  /** As the machine's ABI numbers them. */
  readonly type: number;
  readonly symbol: ElfSymbol;
  readonly addend: bigint;
}

/**
 * The object for a machine in `bytes`; `file` names it in errors. @throws ElfError
 * @param extended more than 65,279 sections, which the kernel does not load
 */
export function parseElf(
  bytes: Uint8Array,
  file: string,
  machine: ElfMachine,
  { extended = true } = {},
): ElfObject {
  const header = parseHeader(bytes, file, machine, extended);
  const sections = parseSections(bytes, file, header);
  return new ElfObject(bytes, file, machine, header, sections);
}

export class ElfObject {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly machine: ElfMachine;
  readonly header: ElfHeader;
  /** All sections; element 0 is the null section. */
  readonly sections: readonly ElfSection[];
  /** The first SHT_SYMTAB section and its string table; undefined in a stripped object. */
  readonly symtab: ElfSection | undefined;
  readonly strtab: ElfSection | undefined;
  #symbols: readonly ElfSymbol[] | undefined;
  readonly #byName = new Map<string, ElfSection[]>();
  /** SHT_RELA sections by the section that they are about. */
  readonly #relaOf = new Map<number, ElfSection[]>();
  readonly #relocations = new Map<number, readonly ElfRelocation[]>();

  constructor(
    bytes: Uint8Array,
    file: string,
    machine: ElfMachine,
    header: ElfHeader,
    sections: readonly ElfSection[],
  ) {
    // A Buffer's slice() would be no copy.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.file = file;
    this.machine = machine;
    this.header = header;
    this.sections = sections;
    for (const s of sections) {
      if (s.index === 0) continue;
      const named = this.#byName.get(s.name);
      if (named) named.push(s);
      else this.#byName.set(s.name, [s]);
      if (s.type !== SHT_RELA) continue;
      const about = this.#relaOf.get(s.info);
      if (about) about.push(s);
      else this.#relaOf.set(s.info, [s]);
    }
    this.#checkRelaSizes();
    this.symtab = sections.find((s) => s.type === SHT_SYMTAB);
    this.strtab = this.symtab && sections[this.symtab.link];
    if (this.symtab) this.#checkSymtab(this.symtab);
  }

  /** The first section of that name, as find_any_sec() does. */
  section(name: string): ElfSection | undefined {
    return this.#byName.get(name)?.[0];
  }

  /** All sections of that name: `ld --unique` leaves several. */
  sectionsNamed(name: string): readonly ElfSection[] {
    return this.#byName.get(name) ?? [];
  }

  /** The last section of that name: the one that module_finalize() goes by. */
  lastSection(name: string): ElfSection | undefined {
    return this.#byName.get(name)?.at(-1);
  }

  /** The symbol table; element 0 is the null symbol. Empty for a stripped object. */
  get symbols(): readonly ElfSymbol[] {
    this.#symbols ??= this.#parseSymbols();
    return this.#symbols;
  }

  /** The first defined symbol of that name. */
  symbol(name: string): ElfSymbol | undefined {
    const symbols = this.#symbols ?? this.#symbolsNamed(name);
    return symbols.find((s) => s.name === name && s.shndx !== 0);
  }

  /** Those that may be: all of them, unless the string table says more. Of a kernel there are 200,000. */
  #symbolsNamed(name: string): readonly ElfSymbol[] {
    const { symtab, strtab } = this;
    if (!symtab || !strtab) return [];
    const { buffer, byteOffset, length } = this.data(strtab);
    const strings = Buffer.from(buffer, byteOffset, length);
    if (!strings.includes(`${name}\0`, 0, 'latin1')) return [];
    const nameAt = strings.indexOf(`\0${name}\0`, 0, 'latin1') + 1;
    // A name may be the end of another one.
    if (nameAt === 0) return this.symbols;
    const view = this.view(symtab);
    for (let at = 0; at < symtab.size; at += SYM_SIZE) {
      if (view.getUint32(at, true) !== nameAt || view.getUint16(at + 6, true) === 0) continue;
      return [
        this.#parseSymbol(
          view,
          new StringTable(this.data(strtab)),
          new SymbolSections(this, symtab),
          at / SYM_SIZE,
        ),
      ];
    }
    return this.symbols;
  }

  /** SHT_RELA sections in file order. */
  get relaSections(): readonly ElfSection[] {
    return this.sections.filter((s) => s.type === SHT_RELA);
  }

  /**
   * What is to be relocated in a section, from all SHT_RELA sections that name it except those that livepatch
   * resolves later (SHF_RELA_LIVEPATCH).
   */
  relocations(sectionIndex: number): readonly ElfRelocation[] {
    const tables = (this.#relaOf.get(sectionIndex) ?? []).filter((s) => !(s.flags & SHF_RELA_LIVEPATCH));
    if (tables.length === 1) return this.relocationTable(tables[0].index);
    return tables.flatMap((t) => this.relocationTable(t.index));
  }

  /** The entries of one SHT_RELA section. @throws ElfError */
  relocationTable(relaIndex: number): readonly ElfRelocation[] {
    let table = this.#relocations.get(relaIndex);
    if (!table) {
      table = this.#parseRelocations(relaIndex);
      this.#relocations.set(relaIndex, table);
    }
    return table;
  }

  /** The bytes of a section; empty for SHT_NOBITS. No copy. */
  data(section: ElfSection): Uint8Array {
    if (section.type === SHT_NOBITS) return EMPTY;
    return this.bytes.subarray(section.offset, section.offset + section.size);
  }

  view(section: ElfSection): DataView {
    const data = this.data(section);
    return new DataView(data.buffer, data.byteOffset, data.length);
  }

  /** The NUL-terminated string at an offset of a section. @throws ElfError if it does not end there */
  stringAt(section: ElfSection, offset: number): string {
    const data = this.data(section);
    const end = offset >= 0 && offset < data.length ? data.indexOf(0, offset) : -1;
    if (end < 0) throw this.error('string runs out of its section', section.name, offset);
    return latin1(data, offset, end);
  }

  /** A name for messages: section symbols have none of their own. */
  symbolLabel(symbol: ElfSymbol): string {
    if (symbol.name !== '') return symbol.name;
    if (symbol.type === STT_SECTION && symbol.section) return symbol.section.name;
    return `symbol ${symbol.index}`;
  }

  error(reason: string, section?: string, offset?: number): ElfError {
    return new ElfError(this.file, reason, { section, offset });
  }

  #checkSymtab(symtab: ElfSection): void {
    const strtab = this.sections[symtab.link];
    if (symtab.entsize !== SYM_SIZE || symtab.size % SYM_SIZE !== 0 || symtab.size === 0) {
      throw this.error(`symbol table of ${symtab.size} bytes, ${symtab.entsize} an entry`, symtab.name);
    }
    const strings = this.data(strtab);
    if (strings.length === 0 || strings[strings.length - 1] !== 0) {
      throw this.error("symbol string table isn't null terminated", strtab.name);
    }
  }

  #parseSymbols(): readonly ElfSymbol[] {
    const { symtab, strtab } = this;
    if (!symtab || !strtab) return [];
    const view = this.view(symtab);
    const names = new StringTable(this.data(strtab));
    const indexes = new SymbolSections(this, symtab);
    const count = symtab.size / SYM_SIZE;
    const symbols: ElfSymbol[] = [];
    for (let index = 0; index < count; index++) {
      symbols.push(this.#parseSymbol(view, names, indexes, index));
    }
    return symbols;
  }

  /** Tables that lie over each other may claim any number of relocations. */
  #checkRelaSizes(): void {
    let sum = 0;
    for (const s of this.sections) {
      if (s.type === SHT_RELA) sum += s.size;
      if (sum > this.bytes.length) throw this.error('relocation tables overlap', s.name);
    }
  }

  #parseSymbol(view: DataView, names: StringTable, indexes: SymbolSections, index: number): ElfSymbol {
    const at = index * SYM_SIZE;
    const nameOffset = view.getUint32(at, true);
    const shndx = view.getUint16(at + 6, true);
    const info = view.getUint8(at + 4);
    const value = view.getBigUint64(at + 8, true);
    const name = names.at(nameOffset);
    if (name === undefined) {
      throw this.error(`symbol ${index} has its name outside the string table`, this.symtab?.name, at);
    }
    const section = this.sections[indexes.of(index, shndx)];
    if (section && value > BigInt(section.size)) {
      throw this.error(`symbol '${name}' lies outside section ${section.name}`, this.symtab?.name, at);
    }
    return {
      index,
      name,
      shndx,
      section,
      value,
      size: Number(view.getBigUint64(at + 16, true)),
      type: info & 0xf,
      bind: info >>> 4,
    };
  }

  #parseRelocations(relaIndex: number): readonly ElfRelocation[] {
    const rela = this.sections[relaIndex];
    const target = rela && this.sections[rela.info];
    if (!rela || rela.type !== SHT_RELA) throw this.error(`section ${relaIndex} holds no relocations`);
    if (!target || rela.info === 0) {
      throw this.error(`relocations for section ${rela.info}, which does not exist`, rela.name);
    }
    if (rela.link !== this.symtab?.index) {
      throw this.error(`relocations by section ${rela.link}, which is not the symbol table`, rela.name);
    }
    if (rela.entsize !== RELA_SIZE || rela.size % RELA_SIZE !== 0) {
      throw this.error(`relocation table of ${rela.size} bytes, ${rela.entsize} an entry`, rela.name);
    }
    const view = this.view(rela);
    const { symbols } = this;
    const table: ElfRelocation[] = [];
    for (let at = 0; at < rela.size; at += RELA_SIZE) {
      const offset = view.getBigUint64(at, true);
      const symbol = symbols[view.getUint32(at + 12, true)];
      const type = view.getUint32(at + 8, true);
      // One that writes nothing marks the end of a section too.
      if (offset + BigInt(this.machine.relocations.get(type)?.width ?? 1) > BigInt(target.size)) {
        throw this.error(`relocation at 0x${offset.toString(16)}, outside ${target.name}`, rela.name, at);
      }
      if (!symbol) throw this.error('relocation against a symbol that does not exist', rela.name, at);
      table.push({
        offset: Number(offset),
        type,
        symbol,
        addend: view.getBigInt64(at + 16, true),
      });
    }
    return table;
  }
}

const EMPTY = new Uint8Array(0);

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}
