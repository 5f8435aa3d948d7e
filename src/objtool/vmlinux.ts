// A linked kernel as the object that it could have been: sections from address 0, symbols by offset, and the
// relocations that analysis needs, worked out again from the instructions and tables.
// Mirrors nothing of objtool's, which sees vmlinux.o before it is linked.
//
// Invariant: only references that leave their section get a relocation; a word that merely looks like an address
// may get one too, which moves data and never a branch.

import {
  ET_REL,
  SHDR_SIZE,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_INFO_LINK,
  SHN_ABS,
  SHT_PROGBITS,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  STT_SECTION,
  SYM_SIZE,
} from '../elf/constants.ts';
import { type ElfObject, parseElf } from '../elf/elf_object.ts';
import { rewriteElf, type SectionChange } from '../elf/elf_writer.ts';
import { objectKind } from '../elf/object_kind.ts';
import {
  ALT_INSTR,
  BUG_ENTRY,
  EXCEPTION_ENTRY,
  JUMP_ENTRY,
  ORC_IP,
  type RowForm,
} from '../elf/table_rows.ts';
import { isBzImage } from '../vmlinuz/bzimage.ts';
import type { KernelCache } from '../vmlinuz/kept_kernel.ts';
import { KernelFile, type KernelPort } from '../vmlinuz/kernel_file.ts';
import { KERNEL_HALF, type KernelSection } from '../vmlinuz/linked_kernel.ts';
import { type CodeRange, codeInData } from '../vmlinuz/symbols.ts';
import { symbolTables } from '../vmlinuz/symtab.ts';
import { RelaBuilder } from './rela_builder.ts';

const TYPE_AT = 16;
const FLAGS_AT = 8;

/** An object, or a kernel turned into one: a bzImage, or a vmlinux with symbols or without. @throws ElfError */
export function parseKernelObject(
  bytes: Uint8Array,
  file: string,
  port: KernelPort,
  cache?: KernelCache,
): ElfObject {
  const isKernel = KernelFile.is(bytes);
  const elf = parseElf(isKernel ? unlinked(bytes, file, port, cache) : bytes, file, port.elf);
  if (isKernel) linked.add(elf);
  const kind = objectKind(elf);
  if (kind !== undefined) throw elf.error(`it is ${kind}`);
  return elf;
}

/** Of an image, as it was made before, where that is kept: one with debug information would leave no room for others. */
function unlinked(bytes: Uint8Array, file: string, port: KernelPort, cache?: KernelCache): Uint8Array {
  const kept = isBzImage(bytes) ? cache?.of(bytes) : undefined;
  const before = kept?.object();
  if (before) return before;
  const object = new Unlinker(new KernelFile(bytes, file, port, cache), port).object();
  kept?.keepObject(object);
  return object;
}

/** Of those that somebody still has. */
const linked = new WeakSet<ElfObject>();

/** Whether an object was a kernel, whose hand-written code is not told from functions by its symbols. */
export const wasKernel = (elf: ElfObject): boolean => linked.has(elf);

/** Tables of 4-byte distances from their own fields: the rows that they may have. */
const RELATIVE: Readonly<Record<string, readonly RowForm[]>> = {
  '.orc_unwind_ip': [ORC_IP],
  '.altinstructions': ALT_INSTR,
  __ex_table: EXCEPTION_ENTRY,
  __bug_table: BUG_ENTRY,
  // Its key is no distance of 4 bytes.
  __jump_table: JUMP_ENTRY.map((form) => ({ ...form, relocated: form.relocated.slice(0, 2) })),
};
/** Tables that lie inside other sections of a vmlinux, by the symbols around them. */
const CARVED: readonly (readonly [name: string, start: string, stop: string])[] = [
  ['__jump_table', '__start___jump_table', '__stop___jump_table'],
  ['__mcount_loc', '__start_mcount_loc', '__stop_mcount_loc'],
  // Those that are sections in some kernels.
  ['__bug_table', '__start___bug_table', '__stop___bug_table'],
  ['__ex_table', '__start___ex_table', '__stop___ex_table'],
  ['.altinstructions', '__alt_instructions', '__alt_instructions_end'],
  ['.orc_unwind_ip', '__start_orc_unwind_ip', '__stop_orc_unwind_ip'],
  ['.orc_unwind', '__start_orc_unwind', '__stop_orc_unwind'],
];
const ADDRESSES = '__mcount_loc';
/** Not in memory: the starts of functions are its only words that are addresses of text. */
const DEBUG_FRAME = '.debug_frame';

/** A run of addresses that is of one section of the object. */
interface Loaded {
  readonly index: number;
  readonly name: string;
  readonly isText: boolean;
  /** What the file holds of it. */
  readonly data: Uint8Array;
  /** Low half of the address of its offset 0. */
  readonly base: number;
  readonly start: number;
  readonly end: number;
}

const SYMTAB = { type: SHT_SYMTAB, flags: 0, align: 8, entsize: SYM_SIZE } as const;
const STRTAB = { name: '.strtab', type: SHT_STRTAB, flags: 0, align: 1, entsize: 0 } as const;

class Unlinker {
  readonly #port: KernelPort;
  readonly #elf: ElfObject;
  readonly #loaded: readonly Loaded[];
  /** What an address was in last: others are near it. */
  #lastAt: Loaded | undefined;
  readonly #symbols: Uint8Array;
  readonly #strings: Uint8Array;
  /** Code that lies in sections of data: a section of its own each, behind those of the file. */
  readonly #pieces: readonly CodeRange[];
  /** Symbols that the file has; the sections' come after them. */
  readonly #count: number;

  constructor(file: KernelFile, port: KernelPort) {
    this.#port = port;
    const { kernel } = file;
    this.#pieces = codeInData(kernel);
    this.#elf = asObject(kernel.bytes, kernel.file, port, this.#pieces);
    const { symtab, strtab } = this.#elf;
    const tables = symtab && strtab ? undefined : symbolTables(file.symbols);
    const table = tables?.symtab ?? (symtab ? this.#elf.data(symtab) : new Uint8Array(0));
    this.#strings = tables?.strtab ?? (strtab ? this.#elf.data(strtab) : new Uint8Array(0));
    this.#count = table.length / SYM_SIZE;
    this.#loaded = kernel.loaded.flatMap((section) => this.#runsOf(section, kernel.data(section)));
    this.#symbols = this.#rebased(table);
  }

  /** A section, or what of it is data and what is code. */
  #runsOf(section: KernelSection, data: Uint8Array): Loaded[] {
    const { index, name, start, end, isText } = section;
    const whole: Loaded = { index, name, isText, data, base: start, start, end };
    const number = this.#pieces.findIndex((piece) => piece.section === index);
    if (number < 0) return [whole];
    const piece = this.#pieces[number];
    const runs = [
      { ...whole, isText: false, end: piece.start },
      {
        index: this.#elf.sections.length + number,
        name: nameOfPiece(name),
        isText: true,
        data: data.subarray(piece.start - start, piece.end - start),
        base: piece.start,
        start: piece.start,
        end: piece.end,
      },
      { ...whole, isText: false, start: piece.end },
    ];
    return runs.filter((run) => run.start < run.end);
  }

  object(): Uint8Array {
    const elf = this.#elf;
    // These first: what is added is numbered in this order.
    const changes: SectionChange[] = this.#pieces.map(({ section, start, end }) => {
      const { name } = elf.sections[section];
      const run = this.#loaded.find((one) => one.start === start && one.end === end);
      return {
        name: nameOfPiece(name),
        type: SHT_PROGBITS,
        flags: SHF_ALLOC | SHF_EXECINSTR,
        align: 16,
        entsize: 0,
        data: run?.data ?? new Uint8Array(0),
        added: true,
      };
    });
    const { symtab, strtab } = elf;
    if (!strtab) changes.push({ ...STRTAB, data: this.#strings });
    changes.push({
      name: symtab?.name ?? '.symtab',
      ...SYMTAB,
      link: strtab?.name ?? STRTAB.name,
      infoIndex: this.#count,
      data: this.#symbols,
    });
    this.#carve(changes);
    for (const run of this.#loaded) {
      const { name, data, start } = run;
      const builder = new RelaBuilder();
      if (run.isText) this.#relocateText(run, builder);
      else if (name.startsWith('.rodata')) this.#relocateWords(data, builder);
      else if (RELATIVE[name]) this.#relocateTable(name, data, start, builder);
      if (builder.count > 0) changes.push(relaSection(name, builder));
    }
    for (const section of elf.sectionsNamed(DEBUG_FRAME)) {
      const builder = new RelaBuilder();
      this.#relocateWords(elf.data(section), builder);
      if (builder.count > 0) changes.push(relaSection(DEBUG_FRAME, builder));
    }
    return inOne(rewriteElf(elf, changes));
  }

  /** Symbols by offset in their sections, and one for each section. */
  #rebased(table: Uint8Array): Uint8Array {
    const sections = this.#elf.sections.length + this.#pieces.length;
    const grown = new Uint8Array(table.length + SYM_SIZE * sections);
    grown.set(table);
    const view = new DataView(grown.buffer);
    const runs = new Map<number, Loaded[]>();
    for (const run of this.#loaded) {
      const home = run.index < this.#elf.sections.length ? run.index : this.#pieceHome(run.index);
      const list = runs.get(home);
      if (list) list.push(run);
      else runs.set(home, [run]);
    }
    for (let at = 0; at < table.length; at += SYM_SIZE) {
      const shndx = view.getUint16(at + 6, true);
      if (shndx === 0 || shndx >= this.#elf.sections.length) continue;
      const address = view.getUint32(at + 8, true);
      const list = runs.get(shndx) ?? [];
      const run = list.find(({ start, end }) => address >= start && address < end) ?? list.at(-1);
      const offset = run ? address - run.base : -1;
      // The linker's own marks may lie outside the section that they are counted to.
      if (!run || offset < 0 || address > run.end) {
        view.setUint16(at + 6, SHN_ABS, true);
        continue;
      }
      view.setUint16(at + 6, run.index, true);
      view.setBigUint64(at + 8, BigInt(offset), true);
    }
    for (let index = 0; index < sections; index++) {
      const at = table.length + index * SYM_SIZE;
      view.setUint8(at + 4, STT_SECTION);
      view.setUint16(at + 6, index, true);
    }
    return grown;
  }

  #pieceHome(index: number): number {
    return this.#pieces[index - this.#elf.sections.length].section;
  }

  /** A section of its own for each table that was linked into another; their relocations with them. */
  #carve(changes: SectionChange[]): void {
    const elf = this.#elf;
    const value = this.#addresses(CARVED.flatMap(([, start, stop]) => [start, stop]));
    for (const [name, startName, stopName] of CARVED) {
      const [start, stop] = [value.get(startName), value.get(stopName)];
      if (elf.section(name) || start === undefined || stop === undefined) continue;
      const home = this.#at(start);
      if (!home || stop <= start || stop > home.end) continue;
      const data = home.data.slice(start - home.base, stop - home.base);
      if (data.length !== stop - start) continue;
      const builder = new RelaBuilder();
      if (name === ADDRESSES) this.#relocateWords(data, builder);
      else if (RELATIVE[name]) this.#relocateTable(name, data, start, builder);
      changes.push({ name, type: SHT_PROGBITS, flags: SHF_ALLOC, align: 8, entsize: 0, data });
      if (builder.count > 0) changes.push(relaSection(name, builder));
    }
  }

  /** Low halves of the addresses of symbols. */
  #addresses(names: readonly string[]): Map<string, number> {
    const found = new Map<string, number>();
    const table = this.#symbols;
    const view = new DataView(table.buffer);
    const strings = this.#strings;
    const wanted = new Map<number, string>();
    const text = Buffer.from(strings.buffer, strings.byteOffset, strings.length);
    for (const name of names) {
      const at = text.indexOf(`\0${name}\0`, 0, 'latin1');
      if (at >= 0) wanted.set(at + 1, name);
    }
    const bases = new Map(this.#loaded.map(({ index, base }) => [index, base]));
    for (let at = 0; at < this.#count * SYM_SIZE; at += SYM_SIZE) {
      const name = wanted.get(view.getUint32(at, true));
      if (name === undefined) continue;
      const base = bases.get(view.getUint16(at + 6, true)) ?? 0;
      found.set(name, base + view.getUint32(at + 8, true));
    }
    return found;
  }

  /** The section that an address lies in, its end included where nothing else begins there. */
  #at(address: number): Loaded | undefined {
    const last = this.#lastAt;
    if (last && address > last.start && address < last.end) return last;
    this.#lastAt = this.#find(address);
    return this.#lastAt;
  }

  #find(address: number): Loaded | undefined {
    const loaded = this.#loaded;
    let [low, high] = [0, loaded.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (loaded[middle].start <= address) low = middle + 1;
      else high = middle;
    }
    const found = loaded[low - 1];
    const before = loaded[low - 2];
    // The end of text, where data follows at once: tables of text have an entry for it.
    if (before?.end === address && this.#isText(before) && !this.#isText(found)) return before;
    return found && address <= found.end ? found : undefined;
  }

  #isText(found: Loaded | undefined): boolean {
    return found?.isText === true;
  }

  #add(builder: RelaBuilder, offset: number, type: number, target: number, bias = 0): void {
    const found = this.#at(target >>> 0);
    if (found) builder.add(offset, type, this.#count + found.index, (target >>> 0) - found.base + bias);
  }

  #relocateText({ data: bytes, start, end }: Loaded, builder: RelaBuilder): void {
    const { code, elf } = this.#port;
    const isInside = (target: number): boolean => target >= start && target < end;
    const note = (at: number, type: number, target: number, bias: number): void => {
      // A distance within the section stays as it is.
      if (elf.relocations.get(type)?.pcRelative && isInside(target)) return;
      this.#add(builder, at, type, target, bias);
    };
    for (let at = 0; at < bytes.length; ) {
      // Data among code, or what follows an instruction that is cut off: the next byte may start one.
      at += code.operands(bytes, at, start + at, note) || 1;
    }
  }

  /** Words of 8 bytes that are addresses of the kernel's text. */
  #relocateWords(data: Uint8Array, builder: RelaBuilder): void {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at + 8 <= data.length; at += 8) {
      if (view.getUint32(at + 4, true) !== KERNEL_HALF) continue;
      const target = view.getUint32(at, true);
      const found = this.#at(target);
      if (this.#isText(found)) this.#add(builder, at, this.#port.code.wholeAddress, target);
    }
  }

  #relocateTable(name: string, data: Uint8Array, start: number, builder: RelaBuilder): void {
    const { distance } = this.#port.code;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const target = (at: number): number => (start + at + view.getInt32(at, true)) >>> 0;
    const isText = (at: number): boolean => this.#isText(this.#at(target(at)));
    const form = RELATIVE[name].find(({ size }) => isTableOf(size, data.length, isText));
    if (!form) throw this.#elf.error('rows of no known size', name);
    for (let row = 0; row < data.length; row += form.size) {
      for (const field of form.relocated) this.#add(builder, row + field, distance, target(row + field));
    }
  }
}

const nameOfPiece = (section: string): string => `${section}.text`;

/**
 * A copy that is read as an object. What the file says of relocations is by address; they are made anew. Sections that hold
 * code among data are data.
 */
function asObject(
  bytes: Uint8Array,
  file: string,
  port: KernelPort,
  pieces: readonly CodeRange[],
): ElfObject {
  const copy = new Uint8Array(bytes);
  const view = new DataView(copy.buffer);
  view.setUint16(TYPE_AT, ET_REL, true);
  const elf = parseElf(copy, file, port.elf);
  for (const { index, type, flags } of elf.sections) {
    const at = elf.header.shoff + index * SHDR_SIZE;
    if (type === SHT_RELA) view.setUint32(at + 4, SHT_PROGBITS, true);
    if (pieces.some(({ section }) => section === index))
      view.setUint32(at + FLAGS_AT, flags & ~SHF_EXECINSTR, true);
  }
  return parseElf(copy, file, port.elf);
}

function inOne(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Rows of that size fill the table, and each starts with a place in text. */
function isTableOf(size: number, length: number, isText: (at: number) => boolean): boolean {
  if (length % size !== 0) return false;
  for (let at = 0; at < length; at += size) if (!isText(at)) return false;
  return true;
}

function relaSection(name: string, builder: RelaBuilder): SectionChange {
  return {
    name: `.rela${name.startsWith('.') ? '' : '.'}${name}`,
    type: SHT_RELA,
    flags: SHF_INFO_LINK,
    align: 8,
    entsize: 24,
    data: builder.finish(),
    link: '.symtab',
    info: name,
  };
}
