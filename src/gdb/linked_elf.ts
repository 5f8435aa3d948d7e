// A linked ELF file that has symbols and unwind information of what is in memory, and none of its bytes: a debugger asks the
// machine for those.
//
// Invariant: addresses are those of the machine, so that nothing is moved when it is loaded.

import {
  EHDR_SIZE,
  ELF_MAGIC,
  ELFCLASS64,
  ELFDATA2LSB,
  SHDR_SIZE,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_ABS,
  SHT_NOBITS,
  SHT_PROGBITS,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_GLOBAL,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
  STT_OBJECT,
  SYM_SIZE,
} from '../elf/constants.ts';
import type { KernelSymbol } from '../kernel/kallsyms.ts';

export interface LinkedSection {
  readonly name: string;
  readonly addr: bigint;
  readonly size: number;
  readonly text: boolean;
}

const [ET_EXEC, ET_DYN, PHDR_SIZE, PT_LOAD, PF_R, PF_X, PF_W] = [2, 3, 56, 1, 4, 1, 2];
const EV_CURRENT = 1;
/** So many bytes of address space are one page of a segment, which begins where it is in the file modulo that. */
const SEGMENT_ALIGN = 1n;

interface Placed {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly addr: bigint;
  readonly data?: Uint8Array;
  readonly size: number;
  readonly link?: number;
  readonly info?: number;
  readonly entsize?: number;
}

/** @param kind of a program, or of a library, which comes and goes */
export function linkedElf(
  machine: number,
  kind: 'program' | 'library',
  sections: readonly LinkedSection[],
  symbols: readonly KernelSymbol[],
  frames: Uint8Array,
): Uint8Array {
  const loaded = sections.map(
    ({ name, addr, size, text }): Placed => ({
      name,
      type: SHT_NOBITS,
      flags: SHF_ALLOC | (text ? SHF_EXECINSTR : SHF_WRITE),
      addr,
      size,
    }),
  );
  const { table, strings, locals } = symbolTable(sections, symbols);
  const strtab = loaded.length + 3;
  const named: Placed[] = [
    ...loaded,
    { name: '.debug_frame', type: SHT_PROGBITS, flags: 0, addr: 0n, data: frames, size: frames.length },
    {
      ...{ name: '.symtab', type: SHT_SYMTAB, flags: 0, addr: 0n, data: table, size: table.length },
      ...{ link: strtab, info: locals, entsize: SYM_SIZE },
    },
    { name: '.strtab', type: SHT_STRTAB, flags: 0, addr: 0n, data: strings, size: strings.length },
  ];
  const names = Buffer.from(`\0${[...named.map(({ name }) => name), '.shstrtab', ''].join('\0')}`, 'latin1');
  named.push({ name: '.shstrtab', type: SHT_STRTAB, flags: 0, addr: 0n, data: names, size: names.length });
  return layOut(machine, kind, loaded, named, names);
}

function symbolTable(sections: readonly LinkedSection[], symbols: readonly KernelSymbol[]) {
  const isLocal = ({ type }: KernelSymbol): boolean => type === type.toLowerCase() && type !== 'w';
  const sorted = [...symbols.filter(isLocal), ...symbols.filter((symbol) => !isLocal(symbol))];
  const table = Buffer.alloc((sorted.length + 1) * SYM_SIZE);
  const names: Buffer[] = [Buffer.alloc(1)];
  let end = 1;
  for (const [i, symbol] of sorted.entries()) {
    const at = (i + 1) * SYM_SIZE;
    const { name, addr, type } = symbol;
    const bytes = Buffer.from(`${name}\0`, 'latin1');
    const home = sections.findIndex((s) => addr >= s.addr && addr < s.addr + BigInt(s.size));
    const bind = isLocal(symbol) ? STB_LOCAL : /w/i.test(type) ? STB_WEAK : STB_GLOBAL;
    table.writeUInt32LE(end, at);
    table.writeUInt8((bind << 4) | (sections[home]?.text ? STT_FUNC : STT_OBJECT), at + 4);
    table.writeUInt16LE(home < 0 ? SHN_ABS : home + 1, at + 6);
    table.writeBigUInt64LE(BigInt.asUintN(64, addr), at + 8);
    table.writeBigUInt64LE(BigInt(symbol.ownSize ?? symbol.size), at + 16);
    names.push(bytes);
    end += bytes.length;
  }
  return { table, strings: Buffer.concat(names), locals: symbols.filter(isLocal).length + 1 };
}

function layOut(
  machine: number,
  kind: 'program' | 'library',
  loaded: readonly Placed[],
  sections: readonly Placed[],
  names: Buffer,
): Uint8Array {
  const segments = Buffer.alloc(loaded.length * PHDR_SIZE);
  const dataFrom = EHDR_SIZE + segments.length;
  loaded.forEach(({ addr, size, flags }, i) => {
    const at = i * PHDR_SIZE;
    segments.writeUInt32LE(PT_LOAD, at);
    segments.writeUInt32LE(PF_R | (flags & SHF_EXECINSTR ? PF_X : PF_W), at + 4);
    segments.writeBigUInt64LE(BigInt(dataFrom), at + 8);
    segments.writeBigUInt64LE(addr, at + 16);
    segments.writeBigUInt64LE(addr, at + 24);
    segments.writeBigUInt64LE(BigInt(size), at + 40);
    segments.writeBigUInt64LE(SEGMENT_ALIGN, at + 48);
  });
  const table = Buffer.alloc((sections.length + 1) * SHDR_SIZE);
  const pieces: Uint8Array[] = [];
  let end = dataFrom;
  for (const [i, section] of sections.entries()) {
    const at = (i + 1) * SHDR_SIZE;
    table.writeUInt32LE(names.indexOf(`\0${section.name}\0`, 0, 'latin1') + 1, at);
    table.writeUInt32LE(section.type, at + 4);
    table.writeBigUInt64LE(BigInt(section.flags), at + 8);
    table.writeBigUInt64LE(section.addr, at + 16);
    table.writeBigUInt64LE(BigInt(end), at + 24);
    table.writeBigUInt64LE(BigInt(section.size), at + 32);
    table.writeUInt32LE(section.link ?? 0, at + 40);
    table.writeUInt32LE(section.info ?? 0, at + 44);
    table.writeBigUInt64LE(1n, at + 48);
    table.writeBigUInt64LE(BigInt(section.entsize ?? 0), at + 56);
    if (!section.data) continue;
    pieces.push(section.data);
    end += section.data.length;
  }
  const header = Buffer.alloc(EHDR_SIZE);
  header.write(ELF_MAGIC, 'latin1');
  header.set([ELFCLASS64, ELFDATA2LSB, EV_CURRENT], 4);
  header.writeUInt16LE(kind === 'program' ? ET_EXEC : ET_DYN, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(EV_CURRENT, 20);
  header.writeBigUInt64LE(BigInt(EHDR_SIZE), 32);
  header.writeBigUInt64LE(BigInt(end), 40);
  header.writeUInt16LE(EHDR_SIZE, 52);
  header.writeUInt16LE(PHDR_SIZE, 54);
  header.writeUInt16LE(loaded.length, 56);
  header.writeUInt16LE(SHDR_SIZE, 58);
  header.writeUInt16LE(sections.length + 1, 60);
  header.writeUInt16LE(sections.length, 62);
  return new Uint8Array(Buffer.concat([header, segments, ...pieces, table]));
}
