// A relocatable object, as a compiler for the made-up architecture would leave it: sections, symbols, relocations.

const EHDR_SIZE = 64;
const SHDR_SIZE = 64;
const [SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA] = [1, 2, 3, 4];
export const [SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR] = [1, 2, 4];
const [STB_LOCAL, STB_GLOBAL] = [0, 1];
const [STT_NOTYPE, STT_OBJECT, STT_FUNC] = [0, 1, 2];

export interface ObjectReloc {
  readonly offset: number;
  readonly type: number;
  readonly symbol: string;
  readonly addend: number;
}
export interface ObjectSection {
  readonly name: string;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly relocs?: readonly ObjectReloc[];
}
export interface ObjectSymbol {
  readonly name: string;
  /** undefined: of another object. */
  readonly section?: string;
  readonly value?: number;
  readonly size?: number;
  readonly local?: boolean;
  readonly code?: boolean;
}

class Strings {
  #text = '\0';
  add(name: string): number {
    const at = this.#text.length;
    this.#text += `${name}\0`;
    return at;
  }
  bytes(): Uint8Array {
    return new TextEncoder().encode(this.#text);
  }
}

interface Header {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly link?: number;
  readonly info?: number;
  readonly entsize?: number;
}

/** @param machine e_machine */
export function relocatable(
  machine: number,
  sections: readonly ObjectSection[],
  symbols: readonly ObjectSymbol[],
): Uint8Array {
  const index = new Map(sections.map(({ name }, i) => [name, i + 1]));
  const ordered = [...symbols].sort((a, b) => Number(!a.local) - Number(!b.local));
  const strings = new Strings();
  const symtab = new Uint8Array(24 * (ordered.length + 1));
  const view = new DataView(symtab.buffer);
  ordered.forEach(({ name, section, value = 0, size = 0, local, code }, i) => {
    const at = 24 * (i + 1);
    view.setUint32(at, strings.add(name), true);
    const type = section === undefined ? STT_NOTYPE : code ? STT_FUNC : STT_OBJECT;
    view.setUint8(at + 4, ((local ? STB_LOCAL : STB_GLOBAL) << 4) | type);
    view.setUint16(at + 6, section === undefined ? 0 : (index.get(section) as number), true);
    view.setBigUint64(at + 8, BigInt(value), true);
    view.setBigUint64(at + 16, BigInt(size), true);
  });
  const symtabIndex = sections.length + 1;
  const headers: Header[] = [
    ...sections.map(({ name, flags, bytes }) => ({ name, type: SHT_PROGBITS, flags, bytes })),
    {
      name: '.symtab',
      type: SHT_SYMTAB,
      flags: 0,
      bytes: symtab,
      link: symtabIndex + 1,
      info: 1 + ordered.filter((s) => s.local).length,
      entsize: 24,
    },
    { name: '.strtab', type: SHT_STRTAB, flags: 0, bytes: strings.bytes() },
    ...sections.flatMap(({ name, relocs }, i) =>
      relocs
        ? [
            {
              name: `.rela${name}`,
              type: SHT_RELA,
              flags: 0x40,
              bytes: relaBytes(relocs, ordered),
              link: symtabIndex,
              info: i + 1,
              entsize: 24,
            },
          ]
        : [],
    ),
  ];
  return layOut(machine, headers);
}

function relaBytes(relocs: readonly ObjectReloc[], symbols: readonly ObjectSymbol[]): Uint8Array {
  const bytes = new Uint8Array(24 * relocs.length);
  const view = new DataView(bytes.buffer);
  relocs.forEach(({ offset, type, symbol, addend }, i) => {
    const number = symbols.findIndex((s) => s.name === symbol) + 1;
    if (number === 0) throw new Error(`no symbol ${symbol}`);
    view.setBigUint64(24 * i, BigInt(offset), true);
    view.setBigUint64(24 * i + 8, (BigInt(number) << 32n) | BigInt(type), true);
    view.setBigInt64(24 * i + 16, BigInt(addend), true);
  });
  return bytes;
}

function layOut(machine: number, headers: readonly Header[]): Uint8Array {
  const names = new Strings();
  const all = [...headers, { name: '.shstrtab', type: SHT_STRTAB, flags: 0, bytes: new Uint8Array() }];
  const nameAt = all.map(({ name }) => names.add(name));
  const bytesOf = (i: number) => (i === all.length - 1 ? names.bytes() : all[i].bytes);
  let at = EHDR_SIZE;
  const offsets = all.map((_, i) => {
    at = (at + 15) & ~15;
    const here = at;
    at += bytesOf(i).length;
    return here;
  });
  const shoff = (at + 15) & ~15;
  const out = new Uint8Array(shoff + SHDR_SIZE * (all.length + 1));
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 1, true);
  view.setUint16(18, machine, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(40, BigInt(shoff), true);
  view.setUint16(52, EHDR_SIZE, true);
  view.setUint16(58, SHDR_SIZE, true);
  view.setUint16(60, all.length + 1, true);
  view.setUint16(62, all.length, true);
  all.forEach(({ type, flags, link = 0, info = 0, entsize = 0 }: Header, i) => {
    out.set(bytesOf(i), offsets[i]);
    const header = shoff + SHDR_SIZE * (i + 1);
    view.setUint32(header, nameAt[i], true);
    view.setUint32(header + 4, type, true);
    view.setBigUint64(header + 8, BigInt(flags), true);
    view.setBigUint64(header + 24, BigInt(offsets[i]), true);
    view.setBigUint64(header + 32, BigInt(bytesOf(i).length), true);
    view.setUint32(header + 40, link, true);
    view.setUint32(header + 44, info, true);
    view.setBigUint64(header + 48, 8n, true);
    view.setBigUint64(header + 56, BigInt(entsize), true);
  });
  return out;
}
