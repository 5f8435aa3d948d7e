// The ELF header and the section headers, checked in the kernel's order and reported in its words.
// Mirrors elf_validity_check() of kernel/module/main.c.

import {
  EHDR_SIZE,
  ELF_MAGIC,
  ELFCLASS64,
  ELFDATA2LSB,
  ET_REL,
  SHDR_SIZE,
  SHN_XINDEX,
  SHT_NOBITS,
  SHT_NULL,
  SHT_SYMTAB,
} from './constants.ts';
import { ElfError } from './error.ts';
import { fileKind } from './file_kind.ts';
import type { ElfMachine } from './machine.ts';

export interface ElfHeader {
  readonly type: number;
  readonly machine: number;
  readonly shoff: number;
  readonly shnum: number;
  readonly shstrndx: number;
}

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  /** SHT_* */
  readonly type: number;
  /** SHF_*; bits above 31 are not kept. */
  readonly flags: number;
  readonly offset: number;
  /** Size in memory; for SHT_NOBITS the file holds nothing of it. */
  readonly size: number;
  readonly link: number;
  readonly info: number;
  /** At least 1. */
  readonly align: number;
  readonly entsize: number;
}

/**
 * @param extended numbers that are too large for the header may be in section 0 (e_shnum 0, SHN_XINDEX): as tools of
 * binutils write and read them, and the kernel does not
 * @param types that the file may have
 */
export function parseHeader(
  bytes: Uint8Array,
  file: string,
  machine: ElfMachine,
  extended: boolean,
  types: readonly number[] = [ET_REL],
): ElfHeader {
  const fail = (reason: string, offset?: number): never => {
    throw new ElfError(file, reason, { offset, kind: fileKind(bytes, machine) });
  };
  if (bytes.length < EHDR_SIZE) fail(`Invalid ELF header len ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < ELF_MAGIC.length; i++) {
    if (bytes[i] !== ELF_MAGIC.charCodeAt(i)) fail(`Invalid ELF header magic: != ${ELF_MAGIC}`, 0);
  }
  if (bytes[4] !== ELFCLASS64) fail(`not a 64-bit ELF file (class ${bytes[4]})`, 4);
  if (bytes[5] !== ELFDATA2LSB) fail(`not a little-endian ELF file (data encoding ${bytes[5]})`, 5);
  const header = {
    type: view.getUint16(16, true),
    machine: view.getUint16(18, true),
    shoff: Number(view.getBigUint64(40, true)),
    shnum: view.getUint16(60, true),
    shstrndx: view.getUint16(62, true),
  };
  if (!types.includes(header.type)) fail(`Invalid ELF header type: ${header.type} != ${types[0]}`, 16);
  if (header.machine !== machine.number) fail(`Invalid architecture in ELF header: ${header.machine}`, 18);
  if (view.getUint16(58, true) !== SHDR_SIZE) fail('Invalid ELF section header size', 58);
  if (extended) extendHeader(view, header);
  const { shoff, shnum, shstrndx } = header;
  if (shoff >= bytes.length || shnum * SHDR_SIZE > bytes.length - shoff) {
    fail('Invalid ELF section header overflow', 40);
  }
  if (shstrndx === 0 || shstrndx >= shnum) {
    fail(`Invalid ELF section name index: ${shstrndx} || e_shstrndx (${shstrndx}) >= e_shnum (${shnum})`, 62);
  }
  return header;
}

function extendHeader(view: DataView, header: { shoff: number; shnum: number; shstrndx: number }): void {
  const { shoff } = header;
  if (!(shoff + SHDR_SIZE <= view.byteLength) || shoff < EHDR_SIZE) return;
  if (header.shnum === 0) header.shnum = Number(view.getBigUint64(shoff + 32, true));
  if (header.shstrndx === SHN_XINDEX) header.shstrndx = view.getUint32(shoff + 40, true);
}

/** The section headers, names resolved. Needs a header that parseHeader() has checked. */
export function parseSections(bytes: Uint8Array, file: string, header: ElfHeader): readonly ElfSection[] {
  const raw: RawSection[] = [];
  for (let index = 0; index < header.shnum; index++) {
    raw.push(rawSection(bytes, header.shoff + index * SHDR_SIZE));
  }
  const strings = raw[header.shstrndx];
  if (!insideFile(strings, bytes)) {
    throw new ElfError(file, `Invalid ELF section hdr(type ${strings.type})`);
  }
  if (strings.size === 0n) throw new ElfError(file, 'empty section name table');
  const names = bytes.subarray(Number(strings.offset), Number(strings.offset + strings.size));
  if (names[names.length - 1] !== 0) {
    throw new ElfError(file, "ELF Spec violation: section name table isn't null terminated");
  }
  const first = raw[0];
  const count = bytes[60] === 0 && bytes[61] === 0 ? BigInt(header.shnum) : 0n;
  if (first.type !== SHT_NULL || first.size !== count || first.addr !== 0n) {
    const reason = `section 0 type(${first.type})!=SH_NULL or non-zero len or addr`;
    throw new ElfError(file, `ELF Spec violation: ${reason}`);
  }
  return raw.map((section, index) => {
    checkSection(section, index, bytes, file, header);
    return finish(section, index, file, names);
  });
}

interface RawSection {
  readonly name: number;
  readonly type: number;
  readonly flags: bigint;
  readonly addr: bigint;
  readonly offset: bigint;
  readonly size: bigint;
  readonly link: number;
  readonly info: number;
  readonly align: bigint;
  readonly entsize: bigint;
}

function rawSection(bytes: Uint8Array, at: number): RawSection {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, SHDR_SIZE);
  return {
    name: view.getUint32(0, true),
    type: view.getUint32(4, true),
    flags: view.getBigUint64(8, true),
    addr: view.getBigUint64(16, true),
    offset: view.getBigUint64(24, true),
    size: view.getBigUint64(32, true),
    link: view.getUint32(40, true),
    info: view.getUint32(44, true),
    align: view.getBigUint64(48, true),
    entsize: view.getBigUint64(56, true),
  };
}

function insideFile(section: RawSection, bytes: Uint8Array): boolean {
  return section.offset + section.size <= BigInt(bytes.length);
}

/** Larger than any section of a module can be: the kernel's module area is 1 GiB. */
const MAX_SECTION = 1n << 32n;

function checkSection(
  s: RawSection,
  index: number,
  bytes: Uint8Array,
  file: string,
  header: ElfHeader,
): void {
  const { shnum } = header;
  if (s.type === SHT_SYMTAB && (s.link === 0 || s.link >= shnum)) {
    const reason = `Invalid ELF sh_link!=SHN_UNDEF(${s.link}) or (sh_link(${s.link}) >= hdr->e_shnum(${shnum})`;
    throw new ElfError(file, reason);
  }
  const inFile = s.type !== SHT_NULL && s.type !== SHT_NOBITS;
  if (inFile && !insideFile(s, bytes)) {
    throw new ElfError(file, `Invalid ELF section in module (section ${index} type ${s.type})`);
  }
  if (s.size >= MAX_SECTION) throw new ElfError(file, `section ${index} claims ${s.size} bytes`);
  if ((s.align & (s.align - 1n)) !== 0n || s.align >= MAX_SECTION) {
    throw new ElfError(file, `section ${index} has an alignment of ${s.align}`);
  }
}

function finish(s: RawSection, index: number, file: string, names: Uint8Array): ElfSection {
  if (s.name >= names.length) {
    throw new ElfError(file, `Invalid ELF section name in module (section ${index} type ${s.type})`);
  }
  const name = Buffer.from(names.buffer, names.byteOffset + s.name, names.indexOf(0, s.name) - s.name);
  const inFile = s.type !== SHT_NULL && s.type !== SHT_NOBITS;
  return {
    index,
    name: name.toString('latin1'),
    type: s.type,
    flags: Number(s.flags & 0xffffffffn),
    offset: inFile ? Number(s.offset) : 0,
    size: s.type === SHT_NULL ? 0 : Number(s.size),
    link: s.link,
    info: s.info,
    align: Math.max(1, Number(s.align)),
    entsize: s.entsize < MAX_SECTION ? Number(s.entsize) : 0,
  };
}
