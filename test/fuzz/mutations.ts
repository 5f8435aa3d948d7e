// Broken objects, made from real ones: bytes changed where a program that trusts them would be led astray.
//
// Invariant: the same object and the same seed make the same broken object.

import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import type { Random } from './random.ts';

/** What is broken: most of them by themselves, so that what comes after the first checks is reached. */
export const KINDS = [
  'truncated',
  'ELF header',
  'section header',
  'overlapping sections',
  'absurd size',
  'offset out of range',
  'relocation to nowhere',
  'symbol',
  'ORC unsorted',
  'unknown ORC register',
  'code',
  'data of a section',
  'data of a table',
  'one section in another',
  'frame table',
  'rows of a table',
  'format of a table',
] as const;
export type Kind = (typeof KINDS)[number];
/** Returns other bytes only where the length changes. */
type Change = (bytes: Uint8Array, random: Random) => Uint8Array | undefined | void;

/** How many changes at once. */
const CHANGES = [1, 1, 1, 2, 2, 3, 5, 8];

/** Part of the file: start and length. */
type Range = readonly [number, number];

/** Values that tend to be a limit of something, also of what does not fit in 32 bits. */
const LIMITS = [0, 1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff];
/** Of a section header, and of what it has in it. */
const [HEADER, SH_OFFSET, SH_SIZE] = [64, 24, 32];
const [RELA, R_SYM, R_ADDEND] = [24, 12, 16];
const ORC_ENTRY = 6;
const SYMBOL = 24;

interface LaidOut {
  readonly name: string;
  readonly header: number;
  readonly data: Range;
  readonly relocations: Range | undefined;
}

const LAID_OUT = /^(\.discard\.|__bug_table|__ex_table|__jump_table|\.altinstructions|\.orc_)/;
/** What .orc_header has: in 6.3, 6.4, 7.2, and never. */
const HASHES = [
  'db84aed4103b31dd51e017f8f79783ca985c2c51',
  'fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24',
  '137c36ad7627c4dd55932176bb0ecdbd5041fc82',
  '00'.repeat(20),
];

export class Victim {
  readonly name: string;
  readonly #bytes: Uint8Array;
  readonly #headers: Range;
  readonly #sections: readonly Range[];
  readonly #tables: readonly Range[];
  readonly #relocations: readonly Range[];
  readonly #text: readonly Range[];
  readonly #orc: Range;
  readonly #orcIps: Range;
  readonly #symbols: Range;
  /** Tables about code, and what says how they are laid out: header, data, relocations. */
  readonly #laidOut: readonly LaidOut[];
  /** SFrame and DWARF, and their relocations; text where there are none. */
  readonly #frames: readonly Range[];

  constructor(bytes: Uint8Array, name: string) {
    // A copy: slice() of a Buffer is none.
    this.#bytes = Uint8Array.from(bytes);
    this.name = name;
    const elf = parseElf(bytes, name, X86_64.elf);
    const inFile = elf.sections.filter((s) => elf.data(s).length > 0);
    const ranges = (names: RegExp): Range[] =>
      inFile.filter((s) => names.test(s.name)).map((s) => [s.offset, s.size]);
    const first = (names: RegExp): Range => ranges(names)[0] ?? [0, 0];
    this.#headers = [elf.header.shoff, elf.header.shnum * HEADER];
    this.#sections = ranges(/(?:)/);
    this.#tables = ranges(/^\.(rela|symtab|alt|orc|mcount)|^__|text/);
    this.#relocations = ranges(/^\.rela/);
    this.#text = ranges(/^\.(text|init\.text|exit\.text|altinstr_replacement)/);
    this.#orc = first(/^\.orc_unwind$/);
    this.#orcIps = first(/^\.rela\.orc_unwind_ip$/);
    this.#symbols = first(/^\.symtab$/);
    this.#laidOut = inFile
      .filter((s) => LAID_OUT.test(s.name))
      .map((s) => {
        const rela = elf.relaSections.find((r) => r.info === s.index);
        return {
          name: s.name,
          header: elf.header.shoff + s.index * HEADER,
          data: [s.offset, s.size],
          relocations: rela ? [rela.offset, rela.size] : undefined,
        };
      });
    const frames = ranges(/^(\.rela)?\.(sframe|eh_frame|debug_frame)$/);
    this.#frames = frames.length > 0 ? frames : this.#text;
  }

  /** With the kinds of its changes, in order. */
  mutate(random: Random): { bytes: Uint8Array; kinds: Kind[] } {
    let bytes: Uint8Array = Uint8Array.from(this.#bytes);
    const kinds: Kind[] = [];
    for (let left = random.pick(CHANGES); left > 0; left--) {
      const kind = random.pick(KINDS);
      kinds.push(kind);
      bytes = this.#change[kind](bytes, random) ?? bytes;
    }
    return { bytes, kinds };
  }

  readonly #change: Readonly<Record<Kind, Change>> = {
    truncated: (bytes, random) => bytes.slice(0, random.below(bytes.length)),
    'ELF header': (bytes, random) => this.#write(bytes, random, [0, 64]),
    'section header': (bytes, random) => this.#write(bytes, random, this.#headers),
    'overlapping sections': (bytes, random) => {
      const [from, to] = [this.#header(random), this.#header(random)];
      // All of the header, or only the place.
      const [at, length] = random.below(2) === 0 ? [0, HEADER] : [SH_OFFSET, 8];
      if (Math.max(from, to) + HEADER <= bytes.length)
        bytes.copyWithin(to + at, from + at, from + at + length);
    },
    'absurd size': (bytes, random) => this.#wide(bytes, random, this.#header(random) + SH_SIZE),
    'offset out of range': (bytes, random) => this.#wide(bytes, random, this.#header(random) + SH_OFFSET),
    'relocation to nowhere': (bytes, random) => {
      const at = this.#row(random, random.pick(this.#relocations), RELA);
      this.#put(bytes, at + random.pick([0, 4, 8, R_SYM, R_ADDEND, R_ADDEND + 4]), limit(bytes, random));
    },
    symbol: (bytes, random) => this.#write(bytes, random, [this.#row(random, this.#symbols, SYMBOL), SYMBOL]),
    'ORC unsorted': (bytes, random) => {
      const [a, b] = [this.#row(random, this.#orcIps, RELA), this.#row(random, this.#orcIps, RELA)];
      if (Math.max(a, b) + RELA > bytes.length) return;
      const kept = bytes.slice(a, a + RELA);
      // Two for one place, or two that changed places.
      bytes.copyWithin(a, b, b + RELA);
      if (random.below(2) === 0) bytes.set(kept, b);
    },
    'unknown ORC register': (bytes, random) => {
      const at = this.#row(random, this.#orc, ORC_ENTRY) + 4;
      if (at + 2 <= bytes.length) new DataView(bytes.buffer).setUint16(at, random.below(0x10000), true);
    },
    code: (bytes, random) => {
      const [start, length] = random.pick(this.#text);
      const from = start + random.below(length);
      for (let at = from; at < Math.min(from + 1 + random.below(4), bytes.length); at++)
        bytes[at] = random.below(256);
    },
    'data of a section': (bytes, random) => this.#write(bytes, random, random.pick(this.#sections)),
    'data of a table': (bytes, random) => this.#write(bytes, random, random.pick(this.#tables)),
    'one section in another': (bytes, random) => {
      const [from, fromLength] = random.pick(this.#sections);
      const [to, toLength] = random.pick(this.#tables);
      const length = random.below(Math.min(fromLength, toLength) + 1);
      if (Math.max(from, to) + length <= bytes.length) bytes.copyWithin(to, from, from + length);
    },
    'frame table': (bytes, random) => this.#frameBytes(bytes, random),
    'rows of a table': (bytes, random) => this.#otherRows(bytes, random),
    'format of a table': (bytes, random) => {
      const header = this.#laidOut.find(({ name }) => name === '.orc_header');
      // Of another format, or of none.
      const hash = Buffer.from(random.pick(HASHES), 'hex');
      if (header && header.data[0] + hash.length <= bytes.length) bytes.set(hash, header.data[0]);
      else this.#otherRows(bytes, random);
    },
  };

  /** Rows of a size that does not fit, relocations between fields, numbers of types that nobody knows. */
  #otherRows(bytes: Uint8Array, random: Random): void {
    if (this.#laidOut.length === 0) return;
    const { header, data, relocations } = random.pick(this.#laidOut);
    const how = random.below(3);
    if (how === 0) this.#put(bytes, header + SH_SIZE, Math.max(0, data[1] + random.below(33) - 16));
    else if (how === 1 && relocations) {
      const at = this.#row(random, relocations, RELA);
      this.#put(bytes, at + random.pick([0, R_ADDEND]), random.below(data[1] + 8));
    } else this.#put(bytes, data[0] + (random.below(data[1]) & ~3), random.below(20));
  }

  /** Some bytes of one table: small numbers, too, which are instructions, operands and lengths there. */
  #frameBytes(bytes: Uint8Array, random: Random): void {
    const [start, length] = random.pick(this.#frames);
    for (let left = 1 + random.below(4); left > 0; left--) {
      const at = start + random.below(length);
      if (random.below(2) === 0) this.#write(bytes, random, [start, length]);
      else if (at < bytes.length) bytes[at] = random.below(random.pick([0x10, 0x40, 0x100]));
    }
  }

  #header(random: Random): number {
    const [start, length] = this.#headers;
    return start + random.below(length / HEADER) * HEADER;
  }

  #row(random: Random, [start, length]: Range, size: number): number {
    return start + random.below(length / size) * size;
  }

  /** A 64-bit field. */
  #wide(bytes: Uint8Array, random: Random, at: number): void {
    this.#put(bytes, at, limit(bytes, random));
    if (random.below(2) === 0) this.#put(bytes, at + 4, limit(bytes, random));
  }

  #put(bytes: Uint8Array, at: number, value: number): void {
    if (at + 4 <= bytes.length) new DataView(bytes.buffer).setUint32(at, value, true);
  }

  /** A byte, a flipped bit, or a word of a value that tends to be a limit. */
  #write(bytes: Uint8Array, random: Random, [start, length]: Range): void {
    const at = start + random.below(length);
    if (at >= bytes.length) return;
    const how = random.below(4);
    if (how === 0) bytes[at] = random.below(256);
    else if (how === 1) bytes[at] ^= 1 << random.below(8);
    else this.#put(bytes, start + ((at - start) & ~3), limit(bytes, random));
  }
}

function limit(bytes: Uint8Array, random: Random): number {
  return random.pick([...LIMITS, bytes.length, random.below(0x10000)]);
}
