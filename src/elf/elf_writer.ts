// A copy of an object with some sections changed or added.
//
// Invariant: indexes of sections and symbols stay, so that whatever refers to them stays right; sections keep
// their order in the file. What follows the last section (a module's signature) is left out: it would no
// longer be true.

import { EHDR_SIZE, SHDR_SIZE, SHN_LORESERVE, SHT_NOBITS, SHT_NULL } from './constants.ts';
import type { ElfObject } from './elf_object.ts';

/** Replaces the section of that index, or the one of that name, or adds one. */
export interface SectionChange {
  readonly name: string;
  /** Of a section that is there. */
  readonly index?: number;
  readonly type: number;
  readonly flags: number;
  readonly align: number;
  readonly entsize: number;
  readonly data: Uint8Array;
  /** Names of the sections that sh_link and sh_info give the indexes of. */
  readonly link?: string;
  readonly info?: string;
  /** sh_link and sh_info as numbers, instead. */
  readonly linkIndex?: number;
  readonly infoIndex?: number;
  /** Adds one, although there is one of that name. */
  readonly added?: true;
}

interface OutSection {
  readonly header: Uint8Array;
  readonly data: Uint8Array;
  readonly align: number;
  /** Where it was; added ones come last. */
  readonly from: number;
}

/** The copy, in pieces that follow each other: most are those of the original. */
export function rewriteElf(elf: ElfObject, changes: readonly SectionChange[]): Uint8Array[] {
  const bytes = elf.sections.reduce((sum, s) => sum + elf.data(s).length, 0);
  if (bytes > elf.bytes.length) throw elf.error('sections overlap: no copy of it can be made');
  const indexes = new Map<string, number>();
  for (const s of elf.sections) if (s.index > 0 && !indexes.has(s.name)) indexes.set(s.name, s.index);
  const added = changes.filter((c) => c.index === undefined && (c.added || !indexes.has(c.name)));
  const places = new Map(added.map((change, i) => [change, elf.sections.length + i]));
  for (const [{ name }, index] of places) if (!indexes.has(name)) indexes.set(name, index);
  const names = sectionNames(elf, added);
  const out = elf.sections.map((_, index) => oldSection(elf, index));
  out[elf.header.shstrndx] = withData(out[elf.header.shstrndx], names.table);
  for (const change of changes) {
    const index = change.index ?? places.get(change) ?? (indexes.get(change.name) as number);
    const old: OutSection | undefined = out[index];
    const header = old?.header ?? new Uint8Array(SHDR_SIZE);
    if (!old) new DataView(header.buffer).setUint32(0, names.offsets.get(change.name) as number, true);
    fillHeader(header, change, indexes);
    const from = old?.from ?? Number.MAX_SAFE_INTEGER;
    out[index] = { header, data: change.data, align: change.align, from };
  }
  return layOut(elf, out);
}

function oldSection(elf: ElfObject, index: number): OutSection {
  const at = elf.header.shoff + index * SHDR_SIZE;
  const { type, offset, align } = elf.sections[index];
  const data = type === SHT_NULL ? new Uint8Array(0) : elf.data(elf.sections[index]);
  // A copy: slice() of a Buffer is none.
  const header = new Uint8Array(elf.bytes.subarray(at, at + SHDR_SIZE));
  return { header, data, align, from: offset };
}

function withData(section: OutSection, data: Uint8Array): OutSection {
  new DataView(section.header.buffer).setBigUint64(32, BigInt(data.length), true);
  return { ...section, data };
}

function fillHeader(header: Uint8Array, change: SectionChange, indexes: ReadonlyMap<string, number>): void {
  const view = new DataView(header.buffer);
  const indexOf = (name: string | undefined): number => (name === undefined ? 0 : (indexes.get(name) ?? 0));
  view.setUint32(4, change.type, true);
  view.setBigUint64(8, BigInt(change.flags), true);
  view.setBigUint64(32, BigInt(change.data.length), true);
  view.setUint32(40, change.linkIndex ?? indexOf(change.link), true);
  view.setUint32(44, change.infoIndex ?? indexOf(change.info), true);
  view.setBigUint64(48, BigInt(change.align), true);
  view.setBigUint64(56, BigInt(change.entsize), true);
}

/** The table of section names, with those of added sections. */
function sectionNames(
  elf: ElfObject,
  added: readonly SectionChange[],
): { table: Uint8Array; offsets: ReadonlyMap<string, number> } {
  const parts: Uint8Array[] = [elf.data(elf.sections[elf.header.shstrndx])];
  let end = parts[0].length;
  const offsets = new Map<string, number>();
  for (const { name } of added) {
    offsets.set(name, end);
    parts.push(Buffer.from(`${name}\0`, 'latin1'));
    end += name.length + 1;
  }
  return { table: Buffer.concat(parts), offsets };
}

function layOut(elf: ElfObject, sections: readonly OutSection[]): Uint8Array[] {
  const isNobits = (s: OutSection): boolean =>
    new DataView(s.header.buffer).getUint32(4, true) === SHT_NOBITS;
  // Alignments may be anything up to what a section may be large.
  const most = sections.reduce((sum, { data }) => sum + data.length, elf.bytes.length + MAX_PADDING);
  const order = sections.map((_, i) => i).sort((a, b) => sections[a].from - sections[b].from || a - b);
  const header = new Uint8Array(elf.bytes.subarray(0, EHDR_SIZE));
  const pieces: Uint8Array[] = [header];
  let end = EHDR_SIZE;
  const pad = (align: number): void => {
    const start = alignUp(end, align);
    if (start - end > most) throw elf.error(`an alignment of ${align} bytes`);
    if (start > end) pieces.push(new Uint8Array(start - end));
    end = start;
  };
  for (const index of order) {
    const section = sections[index];
    if (index === 0) continue;
    if (!isNobits(section)) pad(section.align);
    new DataView(section.header.buffer).setBigUint64(24, BigInt(end), true);
    if (isNobits(section)) continue;
    pieces.push(section.data);
    end += section.data.length;
  }
  pad(8);
  const view = new DataView(header.buffer);
  view.setBigUint64(40, BigInt(end), true);
  setCount(view, sections);
  for (const section of sections) pieces.push(section.header);
  return pieces;
}

/** Too many for the header: section 0 has the number. */
function setCount(header: DataView, sections: readonly OutSection[]): void {
  const many = sections.length >= SHN_LORESERVE;
  header.setUint16(60, many ? 0 : sections.length, true);
  new DataView(sections[0].header.buffer).setBigUint64(32, BigInt(many ? sections.length : 0), true);
}

const MAX_PADDING = 1 << 20;

const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;
