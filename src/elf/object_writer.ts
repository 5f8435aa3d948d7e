// An object file made from parts: sections with their relocations, and symbols. The counterpart of elf_writer.ts, which
// copies one that is there.
//
// Invariant: the same parts give the same bytes; names and numbers are looked up here, so that parts refer to each other
// by themselves.

import {
  EHDR_SIZE,
  RELA_SIZE,
  SHDR_SIZE,
  SHF_INFO_LINK,
  SHN_LORESERVE,
  SHT_NOBITS,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_LOCAL,
  SYM_SIZE,
} from './constants.ts';
import { ElfError } from './error.ts';

export interface NewSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly align: number;
  readonly entsize: number;
  readonly data: Uint8Array;
  /** Of SHT_NOBITS, which has no data. */
  readonly size?: number;
  readonly relocations: readonly NewRelocation[];
}

export interface NewSymbol {
  readonly name: string;
  readonly bind: number;
  readonly type: number;
  /** Where it is, or SHN_*. */
  readonly section: NewSection | number;
  readonly value: bigint;
  readonly size: number;
}

export interface NewRelocation {
  readonly offset: number;
  readonly type: number;
  readonly symbol: NewSymbol;
  readonly addend: bigint;
}

/** @param header of another object for the same machine @throws ElfError */
export function writeObject(
  file: string,
  header: Uint8Array,
  sections: readonly NewSection[],
  symbols: readonly NewSymbol[],
): Uint8Array {
  const headers: Header[] = [];
  for (const section of sections) {
    headers.push({ ...section, link: 0, info: 0 });
    if (section.relocations.length === 0) continue;
    headers.push({ ...RELA, name: `.rela${section.name}`, info: headers.length, data: EMPTY });
  }
  const symtab = headers.length + 1;
  if (symtab + 3 > SHN_LORESERVE)
    throw new ElfError(
      file,
      `${symtab + 3} sections are more than the ${SHN_LORESERVE} that a module may have`,
    );
  const places = new Map<NewSection, number>();
  let at = 1;
  for (const section of sections) {
    places.set(section, at);
    at += section.relocations.length === 0 ? 1 : 2;
  }
  // Local ones come first; where they end is in the header.
  const sorted = [
    ...symbols.filter((s) => s.bind === STB_LOCAL),
    ...symbols.filter((s) => s.bind !== STB_LOCAL),
  ];
  const numbers = new Map(sorted.map((symbol, i) => [symbol, i + 1]));
  const strings = new Strings();
  const table = symbolTable(sorted, places, strings);
  for (const section of sections) {
    if (section.relocations.length === 0) continue;
    const index = places.get(section) as number;
    headers[index] = { ...headers[index], link: symtab, data: relocationTable(section, numbers) };
  }
  const locals = sorted.filter((s) => s.bind === STB_LOCAL).length;
  headers.push({
    ...TABLE,
    name: '.symtab',
    type: SHT_SYMTAB,
    align: 8,
    entsize: SYM_SIZE,
    data: table,
    link: symtab + 1,
    info: locals + 1,
  });
  headers.push({ ...TABLE, name: '.strtab', data: strings.bytes() });
  const names = new Strings();
  const offsets = [...headers.map(({ name }) => names.add(name)), names.add('.shstrtab')];
  headers.push({ ...TABLE, name: '.shstrtab', data: names.bytes() });
  return layOut(header, headers, offsets);
}

interface Header extends Omit<NewSection, 'relocations'> {
  readonly link: number;
  readonly info: number;
}

const EMPTY = new Uint8Array(0);
const TABLE = { type: SHT_STRTAB, flags: 0, align: 1, entsize: 0, link: 0, info: 0 };
const RELA = { type: SHT_RELA, flags: SHF_INFO_LINK, align: 8, entsize: RELA_SIZE, link: 0 };

class Strings {
  readonly #parts: Uint8Array[] = [new Uint8Array(1)];
  readonly #known = new Map<string, number>([['', 0]]);
  #end = 1;

  add(text: string): number {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const at = this.#end;
    const bytes = Buffer.from(`${text}\0`, 'latin1');
    this.#parts.push(bytes);
    this.#known.set(text, at);
    this.#end += bytes.length;
    return at;
  }

  bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}

function symbolTable(
  symbols: readonly NewSymbol[],
  places: ReadonlyMap<NewSection, number>,
  strings: Strings,
): Uint8Array {
  const data = new Uint8Array((symbols.length + 1) * SYM_SIZE);
  const view = new DataView(data.buffer);
  for (const [i, { name, bind, type, section, value, size }] of symbols.entries()) {
    const at = (i + 1) * SYM_SIZE;
    view.setUint32(at, strings.add(name), true);
    view.setUint8(at + 4, (bind << 4) | type);
    view.setUint16(at + 6, typeof section === 'number' ? section : (places.get(section) as number), true);
    view.setBigUint64(at + 8, value, true);
    view.setBigUint64(at + 16, BigInt(size), true);
  }
  return data;
}

function relocationTable({ relocations }: NewSection, numbers: ReadonlyMap<NewSymbol, number>): Uint8Array {
  const data = new Uint8Array(relocations.length * RELA_SIZE);
  const view = new DataView(data.buffer);
  for (const [i, { offset, type, symbol, addend }] of relocations.entries()) {
    view.setBigUint64(i * RELA_SIZE, BigInt(offset), true);
    view.setUint32(i * RELA_SIZE + 8, type, true);
    view.setUint32(i * RELA_SIZE + 12, numbers.get(symbol) as number, true);
    view.setBigInt64(i * RELA_SIZE + 16, addend, true);
  }
  return data;
}

function layOut(original: Uint8Array, headers: readonly Header[], names: readonly number[]): Uint8Array {
  const table = new Uint8Array((headers.length + 1) * SHDR_SIZE);
  const view = new DataView(table.buffer);
  const pieces: Uint8Array[] = [];
  let end = EHDR_SIZE;
  const pad = (align: number): void => {
    const start = Math.ceil(end / align) * align;
    if (start > end) pieces.push(new Uint8Array(start - end));
    end = start;
  };
  for (const [i, { type, flags, align, entsize, data, size, link, info }] of headers.entries()) {
    const at = (i + 1) * SHDR_SIZE;
    if (type !== SHT_NOBITS) pad(align);
    view.setUint32(at, names[i], true);
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 8, BigInt(flags), true);
    view.setBigUint64(at + 24, BigInt(end), true);
    view.setBigUint64(at + 32, BigInt(size ?? data.length), true);
    view.setUint32(at + 40, link, true);
    view.setUint32(at + 44, info, true);
    view.setBigUint64(at + 48, BigInt(align), true);
    view.setBigUint64(at + 56, BigInt(entsize), true);
    if (type === SHT_NOBITS) continue;
    pieces.push(data);
    end += data.length;
  }
  pad(8);
  const header = new Uint8Array(original.subarray(0, EHDR_SIZE));
  const head = new DataView(header.buffer);
  head.setBigUint64(40, BigInt(end), true);
  head.setUint16(60, headers.length + 1, true);
  head.setUint16(62, headers.length, true);
  return new Uint8Array(Buffer.concat([header, ...pieces, table]));
}
