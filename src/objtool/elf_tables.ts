// Symbols and relocations of an object as columns of numbers.
// The same tables as ElfObject's, without an object and two bigints a row: a module of amdgpu's size has
// 320,000 relocations.
//
// Invariant: symbol numbers are those of the file, and in range; a value too large for any section is -1.

import { RELA_SIZE, SHT_RELA, SYM_SIZE } from '../elf/constants.ts';
import type { ElfObject, ElfSection } from '../elf/elf_object.ts';
import { SymbolSections } from '../elf/symbol_sections.ts';
import { type RelocTable, SymbolTable } from './input.ts';

const RELA_WORDS = RELA_SIZE / 4;
const SYM_WORDS = SYM_SIZE / 4;

export class ElfTables {
  readonly symbols: SymbolTable;
  readonly #elf: ElfObject;
  readonly #relaOf = new Map<number, ElfSection[]>();

  /** Those of an object, read once. */
  static of(elf: ElfObject): ElfTables {
    let tables = TABLES.get(elf);
    if (!tables) {
      tables = new ElfTables(elf);
      TABLES.set(elf, tables);
    }
    return tables;
  }

  private constructor(elf: ElfObject) {
    this.#elf = elf;
    this.symbols = readSymbols(elf);
    for (const section of elf.sections) {
      // Those that livepatch resolves are places that lead elsewhere like any other.
      if (section.type !== SHT_RELA) continue;
      const list = this.#relaOf.get(section.info);
      if (list) list.push(section);
      else this.#relaOf.set(section.info, [section]);
    }
  }

  /** Of the section at an index; undefined without any. @throws ElfError */
  relocs(index: number): RelocTable | undefined {
    const tables = this.#relaOf.get(index);
    if (!tables) return undefined;
    const count = tables.reduce((sum, { size }) => sum + Math.floor(size / RELA_SIZE), 0);
    const table = new Relocs(count);
    let at = 0;
    for (const section of tables) at = this.#read(section, this.#elf.sections[index], table, at);
    return table;
  }

  #read(rela: ElfSection, target: ElfSection, into: Relocs, first: number): number {
    const elf = this.#elf;
    if (rela.link !== elf.symtab?.index) {
      throw elf.error(`relocations by section ${rela.link}, which is not the symbol table`, rela.name);
    }
    if (rela.entsize !== RELA_SIZE || rela.size % RELA_SIZE !== 0) {
      throw elf.error(`relocation table of ${rela.size} bytes, ${rela.entsize} an entry`, rela.name);
    }
    const words = wordsOf(elf.data(rela));
    const { count } = this.symbols;
    let last = first === 0 ? 0 : into.offset[first - 1];
    let at = first;
    for (let w = 0; w < words.length; w += RELA_WORDS, at++) {
      const offset = words[w];
      const symbol = words[w + 3];
      if (words[w + 1] !== 0 || offset >>> 0 > target.size) {
        throw elf.error('relocation outside its section', rela.name, w * 4);
      }
      if (symbol >>> 0 >= count)
        throw elf.error('relocation against a symbol that does not exist', rela.name, w * 4);
      into.offset[at] = offset;
      into.symbol[at] = symbol;
      into.addend[at] = words[w + 4];
      into.type[at] = words[w + 2];
      if (offset < last) into.sorted = false;
      last = offset;
    }
    return at;
  }
}

class Relocs implements RelocTable {
  readonly count: number;
  readonly offset: Int32Array;
  readonly symbol: Int32Array;
  readonly addend: Int32Array;
  readonly type: Uint8Array;
  sorted = true;

  constructor(count: number) {
    this.count = count;
    this.offset = new Int32Array(count);
    this.symbol = new Int32Array(count);
    this.addend = new Int32Array(count);
    this.type = new Uint8Array(count);
  }
}

const TABLES = new WeakMap<ElfObject, ElfTables>();

/** Little-endian words; a copy only where they are not aligned. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const count = bytes.length >> 2;
  if (bytes.byteOffset % 4 === 0) return new Int32Array(bytes.buffer, bytes.byteOffset, count);
  return new Int32Array(new Uint8Array(bytes.subarray(0, count * 4)).buffer);
}

function readSymbols(elf: ElfObject): SymbolTable {
  const { symtab, strtab } = elf;
  if (!symtab || !strtab) return new SymbolTable(1, () => '');
  const words = wordsOf(elf.data(symtab));
  const count = words.length / SYM_WORDS;
  const strings = elf.data(strtab);
  const text = Buffer.from(strings.buffer, strings.byteOffset, strings.length);
  const table = new SymbolTable(count, (index) => stringAt(text, words[index * SYM_WORDS]));
  const indexes = new SymbolSections(elf, symtab);
  const sizes = Float64Array.from(elf.sections, (s) => s.size);
  for (let i = 0, w = 0; i < count; i++, w += SYM_WORDS) {
    const info = words[w + 1];
    const shndx = Math.max(0, indexes.of(i, info >>> 16));
    const section = shndx < sizes.length ? shndx : 0;
    const value = small(words[w + 2], words[w + 3]);
    const size = Math.max(0, small(words[w + 4], words[w + 5]));
    if (words[w] >>> 0 >= strings.length) {
      throw elf.error(`symbol ${i} has its name outside the string table`, symtab.name, w * 4);
    }
    if (section !== 0 && value >>> 0 > sizes[section]) {
      throw elf.error(`symbol ${i} lies outside section ${elf.sections[section].name}`, symtab.name, w * 4);
    }
    table.set(i, section, value, size, info & 0xf, (info >>> 4) & 0xf);
  }
  return table;
}

/** KSYM_NAME_LEN; longer ones are cut, for names that overlap may be any number of that length. */
const MAX_NAME = 512;

function stringAt(strings: Buffer, offset: number): string {
  const end = strings.indexOf(0, offset);
  return strings.toString('latin1', offset, Math.min(end < 0 ? strings.length : end, offset + MAX_NAME));
}

/** A 64-bit value that no section is large enough for becomes -1. */
const small = (low: number, high: number): number => (high === 0 && low >= 0 ? low : -1);
