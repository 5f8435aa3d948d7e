// Objects made byte by byte, as no assembler would: any header, sections that share their bytes, more sections than
// the ELF header can count.

import { BUILT_IN } from '../../src/kernel/description.ts';

export interface ForgedSection {
  readonly name: string;
  readonly type: number;
  readonly flags?: number;
  readonly data?: Uint8Array;
  /** Index of an earlier section whose bytes are these, too. */
  readonly share?: number;
  readonly size?: bigint;
  readonly offset?: bigint;
  readonly link?: number;
  readonly info?: number;
  readonly align?: bigint;
  readonly entsize?: number;
}

const EHDR = 64;
const SHDR = 64;
const LORESERVE = 0xff00;

/** The object; its null section and the table of section names are added. */
export function forgeElf(given: readonly ForgedSection[]): Uint8Array {
  const sections: ForgedSection[] = [{ name: '', type: 0 }, ...given, { name: '.shstrtab', type: 3 }];
  const offsets = new Map<string, number>([['', 0]]);
  const names: Buffer[] = [Buffer.from([0])];
  let length = 1;
  for (const { name } of sections) {
    if (offsets.has(name)) continue;
    offsets.set(name, length);
    names.push(Buffer.from(`${name}\0`, 'latin1'));
    length += name.length + 1;
  }
  const places: { offset: number; size: number }[] = [];
  const chunks: Uint8Array[] = [new Uint8Array(EHDR)];
  let end = EHDR;
  const headers = Buffer.alloc(SHDR * sections.length);
  sections.forEach((section, i) => {
    const data = i === sections.length - 1 ? Buffer.concat(names) : (section.data ?? new Uint8Array(0));
    if (section.share !== undefined) places.push(places[section.share]);
    else {
      const pad = -end & 15;
      chunks.push(new Uint8Array(pad), data);
      places.push({ offset: end + pad, size: data.length });
      end += pad + data.length;
    }
    if (i > 0) writeHeader(headers, i * SHDR, section, offsets.get(section.name) ?? 0, places[i]);
  });
  const shoff = (end + 15) & ~15;
  chunks.push(new Uint8Array(shoff - end), headers);
  const file = Buffer.concat(chunks);
  fileHeader(file, shoff, sections.length);
  return new Uint8Array(file);
}

function writeHeader(
  to: Buffer,
  at: number,
  s: ForgedSection,
  name: number,
  place: { offset: number; size: number },
): void {
  to.writeUInt32LE(name, at);
  to.writeUInt32LE(s.type, at + 4);
  to.writeBigUInt64LE(BigInt(s.flags ?? 0), at + 8);
  to.writeBigUInt64LE(s.offset ?? BigInt(place.offset), at + 24);
  to.writeBigUInt64LE(s.size ?? BigInt(place.size), at + 32);
  to.writeUInt32LE(s.link ?? 0, at + 40);
  to.writeUInt32LE(s.info ?? 0, at + 44);
  to.writeBigUInt64LE(s.align ?? 1n, at + 48);
  to.writeBigUInt64LE(BigInt(s.entsize ?? 0), at + 56);
}

/** With the numbers that do not fit in section 0. */
function fileHeader(file: Buffer, shoff: number, count: number): void {
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(1, 16);
  file.writeUInt16LE(62, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(shoff), 40);
  file.writeUInt16LE(EHDR, 52);
  file.writeUInt16LE(SHDR, 58);
  const many = count >= LORESERVE;
  file.writeUInt16LE(many ? 0 : count, 60);
  file.writeUInt16LE(many ? 0xffff : count - 1, 62);
  if (!many) return;
  file.writeBigUInt64LE(BigInt(count), shoff + 32);
  file.writeUInt32LE(count - 1, shoff + 40);
}

export interface ForgedSymbol {
  readonly name: number;
  readonly info: number;
  readonly shndx: number;
  readonly value?: number;
  readonly size?: number;
}

export function forgeSymbols(rows: readonly ForgedSymbol[]): Uint8Array {
  const bytes = Buffer.alloc(24 * (rows.length + 1));
  rows.forEach(({ name, info, shndx, value = 0, size = 0 }, i) => {
    const at = 24 * (i + 1);
    bytes.writeUInt32LE(name, at);
    bytes[at + 4] = info;
    bytes.writeUInt16LE(shndx, at + 6);
    bytes.writeBigUInt64LE(BigInt(value), at + 8);
    bytes.writeBigUInt64LE(BigInt(size), at + 16);
  });
  return bytes;
}

const GLOBAL_FUNC = 0x12;
export const INIT: ForgedSymbol = { name: 1, info: GLOBAL_FUNC, shndx: 1, size: 16 };
const THIS: ForgedSymbol = { name: 13, info: 0x11, shndx: 3, size: BUILT_IN.structs.module.size };
export const STRTAB = Buffer.from('\0init_module\0__this_module\0', 'latin1');

export interface ForgedModule {
  readonly name?: string;
  readonly text?: Uint8Array;
  readonly modinfo?: string;
  readonly symbols?: Uint8Array;
  readonly strings?: Uint8Array;
  readonly extra?: readonly ForgedSection[];
}

/** Sections of a module: 1 .text, 2 .modinfo, 3 struct module, 4 .strtab, 5 .symtab, 6 __versions, then the extra ones. */
export function forgeModule(how: ForgedModule = {}): Uint8Array {
  const { name = 'forged', text = new Uint8Array(64).fill(0xc3), extra = [] } = how;
  const self = Buffer.alloc(BUILT_IN.structs.module.size);
  self.write(name.slice(0, 55), BUILT_IN.structs.module.fields.name, 'latin1');
  const info = `name=${name}\0license=GPL\0vermagic=${BUILT_IN.vermagic}\0retpoline=Y\0${how.modinfo ?? ''}`;
  const versions = Buffer.alloc(64);
  versions.writeUInt32LE(BUILT_IN.layoutCrc as number, 0);
  versions.write('module_layout', 8, 'latin1');
  return forgeElf([
    { name: '.text', type: 1, flags: 6, data: text, align: 16n },
    { name: '.modinfo', type: 1, flags: 2, data: Buffer.from(info, 'latin1') },
    { name: '.gnu.linkonce.this_module', type: 1, flags: 3, data: self, align: 64n },
    { name: '.strtab', type: 3, data: how.strings ?? STRTAB },
    {
      name: '.symtab',
      type: 2,
      data: how.symbols ?? forgeSymbols([INIT, THIS]),
      link: 4,
      info: 1,
      entsize: 24,
      align: 8n,
    },
    { name: '__versions', type: 1, flags: 2, data: versions },
    ...extra,
  ]);
}
