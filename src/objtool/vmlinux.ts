// A linked kernel as the object that it could have been: sections from address 0, symbols by offset, and the
// relocations that analysis needs, worked out again from the instructions and tables.
// Mirrors nothing of objtool's, which sees vmlinux.o before it is linked.
//
// Invariant: only references that leave their section get a relocation; a word that merely looks like an address
// may get one too, which moves data and never a branch.

import type { CheckableArch } from '../arch/arch.ts';
import {
  ET_REL,
  SHDR_SIZE,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_INFO_LINK,
  SHN_ABS,
  SHT_PROGBITS,
  SHT_RELA,
  SHT_SYMTAB,
  STT_SECTION,
  SYM_SIZE,
} from '../elf/constants.ts';
import { type ElfObject, type ElfSection, parseElf } from '../elf/elf_object.ts';
import { rewriteElf, type SectionChange } from '../elf/elf_writer.ts';
import { objectKind } from '../elf/object_kind.ts';
import { RelaBuilder } from './rela_builder.ts';

const ET_EXEC = 2;
const TYPE_AT = 16;
const KERNEL_HALF = 0xffffffff;

/** Whose code it is. */
type Port = Pick<CheckableArch, 'elf' | 'code'>;

/** An object, or a vmlinux turned into one. @throws ElfError */
export function parseKernelObject(bytes: Uint8Array, file: string, port: Port): ElfObject {
  const isVmlinux = bytes.length > TYPE_AT + 1 && bytes[TYPE_AT] === ET_EXEC && bytes[TYPE_AT + 1] === 0;
  const elf = isVmlinux ? new Unlinker(bytes, file, port).object() : parseElf(bytes, file, port.elf);
  const kind = objectKind(elf);
  if (kind !== undefined) throw elf.error(`it is ${kind}`);
  return elf;
}

/** Tables of 4-byte distances from their own fields: bytes that a row may have, and where the fields are. */
const RELATIVE: Readonly<
  Record<string, { readonly sizes: readonly number[]; readonly fields: readonly number[] }>
> = {
  '.orc_unwind_ip': { sizes: [4], fields: [0] },
  // Two bytes longer from 6.3 on.
  '.altinstructions': { sizes: [12, 14], fields: [0, 4] },
  __ex_table: { sizes: [12], fields: [0, 4] },
  // With and without the names of files.
  __bug_table: { sizes: [12, 8], fields: [0, 4] },
  __jump_table: { sizes: [16], fields: [0, 4] },
};
/** Tables that lie inside other sections of a vmlinux, by the symbols around them. */
const CARVED: readonly (readonly [name: string, start: string, stop: string])[] = [
  ['__jump_table', '__start___jump_table', '__stop___jump_table'],
  ['__mcount_loc', '__start_mcount_loc', '__stop_mcount_loc'],
];
const ADDRESSES = '__mcount_loc';

interface Loaded {
  readonly section: ElfSection;
  /** Low half: all of a kernel is in the highest 2 GiB. */
  readonly start: number;
  readonly end: number;
}

class Unlinker {
  readonly #port: Port;
  readonly #elf: ElfObject;
  readonly #loaded: readonly Loaded[];
  readonly #symbols: Uint8Array;
  /** Symbols that the file has; the sections' come after them. */
  readonly #count: number;

  constructor(bytes: Uint8Array, file: string, port: Port) {
    this.#port = port;
    // slice() of a Buffer is no copy, and begins where the buffer's memory does not.
    const copy = new Uint8Array(bytes);
    const view = new DataView(copy.buffer);
    view.setUint16(TYPE_AT, ET_REL, true);
    const elf = parseElf(copy, file, port.elf);
    if (!elf.symtab || !elf.strtab)
      throw elf.error('no symbols: a stripped vmlinux has no functions to check');
    const loaded: Loaded[] = [];
    for (const section of elf.sections) {
      const at = elf.header.shoff + section.index * SHDR_SIZE;
      const [low, high] = [view.getUint32(at + 16, true), view.getUint32(at + 20, true)];
      // Relocations that the linker kept are by address; they are made anew.
      if (section.type === SHT_RELA) view.setUint32(at + 4, SHT_PROGBITS, true);
      if (!(section.flags & SHF_ALLOC) || section.size === 0 || high !== KERNEL_HALF) continue;
      loaded.push({ section, start: low, end: low + section.size });
    }
    loaded.sort((a, b) => a.start - b.start);
    this.#loaded = loaded;
    this.#elf = parseElf(copy, file, port.elf);
    this.#count = elf.symtab.size / SYM_SIZE;
    this.#symbols = this.#rebased(elf.data(elf.symtab));
  }

  object(): ElfObject {
    const elf = this.#elf;
    const { strtab } = elf;
    if (!strtab) throw elf.error('no symbol names');
    const symtab = { type: SHT_SYMTAB, flags: 0, align: 8, entsize: SYM_SIZE, link: strtab.name };
    const changes: SectionChange[] = [
      { name: '.symtab', ...symtab, infoIndex: this.#count, data: this.#symbols },
    ];
    this.#carve(changes);
    for (const { section, start } of this.#loaded) {
      const builder = new RelaBuilder();
      if (section.flags & SHF_EXECINSTR) this.#relocateText(section, start, builder);
      else if (section.name.startsWith('.rodata')) this.#relocateWords(elf.data(section), builder);
      else if (RELATIVE[section.name]) this.#relocateTable(section.name, elf.data(section), start, builder);
      if (builder.count > 0) changes.push(relaSection(section.name, builder));
    }
    const pieces = rewriteElf(elf, changes);
    return parseElf(Uint8Array.from(Buffer.concat(pieces)), elf.file, elf.machine);
  }

  /** Symbols by offset in their sections, and one for each section. */
  #rebased(table: Uint8Array): Uint8Array {
    const sections = this.#elf.sections;
    const grown = new Uint8Array(table.length + SYM_SIZE * sections.length);
    grown.set(table);
    const view = new DataView(grown.buffer);
    const startOf = new Map(this.#loaded.map(({ section, start }) => [section.index, start]));
    for (let at = 0; at < table.length; at += SYM_SIZE) {
      const shndx = view.getUint16(at + 6, true);
      const section = sections[shndx];
      if (shndx === 0 || !section) continue;
      const start = startOf.get(shndx);
      const offset = start === undefined ? -1 : view.getUint32(at + 8, true) - start;
      // The linker's own marks may lie outside the section that they are counted to.
      if (offset < 0 || offset > section.size) view.setUint16(at + 6, SHN_ABS, true);
      else view.setBigUint64(at + 8, BigInt(offset), true);
    }
    for (const { index } of sections) {
      const at = table.length + index * SYM_SIZE;
      view.setUint8(at + 4, STT_SECTION);
      view.setUint16(at + 6, index, true);
    }
    return grown;
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
      const data = elf.data(home.section).slice(start - home.start, stop - home.start);
      if (data.length !== stop - start) continue;
      const builder = new RelaBuilder();
      if (name === ADDRESSES) this.#relocateWords(data, builder);
      else this.#relocateTable(name, data, start, builder);
      changes.push({ name, type: SHT_PROGBITS, flags: SHF_ALLOC, align: 8, entsize: 0, data });
      if (builder.count > 0) changes.push(relaSection(name, builder));
    }
  }

  /** Low halves of the addresses of symbols. */
  #addresses(names: readonly string[]): Map<string, number> {
    const { symtab, strtab } = this.#elf;
    const found = new Map<string, number>();
    if (!symtab || !strtab) return found;
    const view = this.#elf.view(symtab);
    const strings = this.#elf.data(strtab);
    const wanted = new Map<number, string>();
    const text = Buffer.from(strings.buffer, strings.byteOffset, strings.length);
    for (const name of names) {
      const at = text.indexOf(`\0${name}\0`, 0, 'latin1');
      if (at >= 0) wanted.set(at + 1, name);
    }
    for (let at = 0; at < symtab.size; at += SYM_SIZE) {
      const name = wanted.get(view.getUint32(at, true));
      if (name !== undefined) found.set(name, view.getUint32(at + 8, true));
    }
    return found;
  }

  /** The section that an address lies in, its end included where nothing else begins there. */
  #at(address: number): Loaded | undefined {
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
    return found !== undefined && (found.section.flags & SHF_EXECINSTR) !== 0;
  }

  #add(builder: RelaBuilder, offset: number, type: number, target: number, bias = 0): void {
    const found = this.#at(target >>> 0);
    if (found)
      builder.add(offset, type, this.#count + found.section.index, (target >>> 0) - found.start + bias);
  }

  #relocateText(section: ElfSection, start: number, builder: RelaBuilder): void {
    const { code, elf } = this.#port;
    const bytes = this.#elf.data(section);
    const isInside = (target: number): boolean => target >= start && target < start + section.size;
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
    const { sizes, fields } = RELATIVE[name];
    const { distance } = this.#port.code;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const target = (at: number): number => (start + at + view.getInt32(at, true)) >>> 0;
    const isText = (at: number): boolean => this.#isText(this.#at(target(at)));
    const size = sizes.find((n) => isTableOf(n, data.length, isText)) ?? 0;
    if (size === 0) throw this.#elf.error('rows of no known size', name);
    for (let row = 0; row < data.length; row += size) {
      for (const field of fields) this.#add(builder, row + field, distance, target(row + field));
    }
  }
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
