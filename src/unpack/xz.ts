// The .xz format, as xz itself and kbuild make it: streams of blocks, LZMA2 with the x86 filter before it or without,
// and any of its checks. Mirrors what `xz -d` accepts, in its words.
//
// Invariant: what is returned has passed every check that is in the file; more than the limit is refused before memory
// is taken for it.

import { createHash } from 'node:crypto';
import { crc32, crc64 } from './checks.ts';
import { UnpackError } from './error.ts';
import { decodeLzma2, lzma2Extent } from './lzma2.ts';
import { unfilterX86 } from './x86_filter.ts';

export const XZ_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0] as const;
const FOOTER_MAGIC = [0x59, 0x5a] as const;
const HEADER_SIZE = 12;
const FILTER = { x86: 0x04, lzma2: 0x21 } as const;

interface Check {
  readonly name: string;
  readonly size: number;
  readonly passes: (content: Uint8Array, stored: DataView) => boolean;
}

/** By their numbers. */
const CHECKS: Readonly<Record<number, Check>> = {
  0: { name: 'none', size: 0, passes: () => true },
  1: { name: 'CRC32', size: 4, passes: (content, stored) => stored.getUint32(0, true) === crc32(content) },
  4: { name: 'CRC64', size: 8, passes: (content, stored) => stored.getBigUint64(0, true) === crc64(content) },
  10: {
    name: 'SHA-256',
    size: 32,
    passes: (content, stored) => createHash('sha256').update(content).digest().compare(viewed(stored)) === 0,
  },
};

const viewed = ({ buffer, byteOffset, byteLength }: DataView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

interface Block {
  /** Of the LZMA2 chunks. */
  readonly start: number;
  readonly end: number;
  readonly unpacked: number;
  readonly dictionary: number;
  /** Of the x86 filter. */
  readonly origin: number | undefined;
  readonly check: Check;
  /** Without the padding: as the index has it. */
  readonly size: number;
}

/** @throws UnpackError */
export function unxz(input: Uint8Array, limit: number): Uint8Array {
  const blocks = new XzReader(input).blocks();
  const total = blocks.reduce((sum, { unpacked }) => sum + unpacked, 0);
  if (total > limit) throw new UnpackError('too-large');
  const output = new Uint8Array(total);
  let at = 0;
  for (const block of blocks) {
    const content = output.subarray(at, at + block.unpacked);
    at += block.unpacked;
    decodeLzma2(input, block.start, block.dictionary, content);
    if (block.origin !== undefined) unfilterX86(content, block.origin);
    const stored = padded(block.end, block.start);
    if (!block.check.passes(content, new DataView(input.buffer, input.byteOffset + stored, block.check.size)))
      throw new UnpackError('damaged', `${block.check.name} differs`);
  }
  return output;
}

/** Blocks are padded to words, which their headers are whole numbers of. */
const padded = (end: number, start: number): number => start + ((end - start + 3) & ~3);

/** Everything of a file but the packed contents. */
class XzReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  blocks(): Block[] {
    const blocks: Block[] = [];
    do {
      blocks.push(...this.#stream());
      this.#streamPadding();
    } while (this.#at < this.#bytes.length);
    return blocks;
  }

  #stream(): Block[] {
    const flags = this.#streamHeader();
    const check = CHECKS[flags & 0x0f];
    if (flags > 0x0f || !check) throw new UnpackError('unsupported', `check ${flags}`);
    const blocks: Block[] = [];
    while (this.#byte(this.#at) !== 0) blocks.push(this.#block(check));
    const index = this.#at;
    this.#index(blocks);
    this.#footer(flags, this.#at - index);
    return blocks;
  }

  #streamHeader(): number {
    const at = this.#take(HEADER_SIZE);
    this.#expect(XZ_MAGIC.every((byte, i) => this.#bytes[at + i] === byte));
    this.#expectCrc(at + 6, at + 8);
    if (this.#bytes[at + 6] !== 0) throw new UnpackError('unsupported', 'stream flags');
    return this.#bytes[at + 7];
  }

  #block(check: Check): Block {
    const header = this.#at;
    const start = header + (this.#byte(header) + 1) * 4;
    this.#take(start - header);
    this.#expectCrc(header, start - 4);
    const claims = this.#blockHeader(header + 1, start - 4);
    const { end, unpacked } = lzma2Extent(this.#bytes, start);
    this.#expect(
      (claims.packed ?? end - start) === end - start && (claims.unpacked ?? unpacked) === unpacked,
    );
    this.#at = end;
    this.#zeros(padded(end, start) - end);
    this.#take(check.size);
    const { dictionary, origin } = claims;
    return { start, end, unpacked, dictionary, origin, check, size: end - header + check.size };
  }

  #blockHeader(at: number, end: number) {
    const resume = this.#at;
    this.#at = at;
    const flags = this.#byte(this.#take(1));
    if (flags & 0x3c) throw new UnpackError('unsupported', 'block flags');
    const packed = flags & 0x40 ? this.#number() : undefined;
    const unpacked = flags & 0x80 ? this.#number() : undefined;
    const filters = Array.from({ length: (flags & 3) + 1 }, () => this.#filter());
    this.#expect(this.#at <= end);
    this.#zeros(end - this.#at);
    this.#at = resume;
    return { packed, unpacked, ...filterChain(filters) };
  }

  #filter(): Filter {
    const id = this.#number();
    const size = this.#number();
    const at = this.#take(size);
    return { id, properties: this.#bytes.subarray(at, at + size) };
  }

  /** Says again what the blocks are, which must be true. */
  #index(blocks: readonly Block[]): void {
    const start = this.#at;
    this.#take(1);
    this.#expect(this.#number() === blocks.length);
    for (const { size, unpacked } of blocks) {
      this.#expect(this.#number() === size && this.#number() === unpacked);
    }
    this.#zeros(padded(this.#at, start) - this.#at);
    const crc = this.#take(4);
    this.#expectCrc(start, crc);
  }

  #footer(flags: number, indexSize: number): void {
    const at = this.#take(HEADER_SIZE);
    this.#expect(FOOTER_MAGIC.every((byte, i) => this.#bytes[at + 10 + i] === byte));
    this.#expect(this.#view.getUint32(at, true) === crc32(this.#bytes.subarray(at + 4, at + 10)));
    this.#expect((this.#view.getUint32(at + 4, true) + 1) * 4 === indexSize);
    this.#expect(this.#bytes[at + 8] === 0 && this.#bytes[at + 9] === flags);
  }

  #streamPadding(): void {
    const start = this.#at;
    while (this.#at < this.#bytes.length && this.#bytes[this.#at] === 0) this.#at++;
    this.#expect((this.#at - start) % 4 === 0);
  }

  /** Seven bits a byte, the lowest first; nine bytes at most. */
  #number(): number {
    let value = 0;
    for (let i = 0; ; i++) {
      const byte = this.#byte(this.#take(1));
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) {
        this.#expect((byte !== 0 || i === 0) && Number.isSafeInteger(value));
        return value;
      }
      this.#expect(i < 8);
    }
  }

  #zeros(count: number): void {
    const at = this.#take(count);
    this.#expect(this.#bytes.subarray(at, at + count).every((byte) => byte === 0));
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new UnpackError('cut');
    this.#at = at + count;
    return at;
  }

  #byte(at: number): number {
    if (at >= this.#bytes.length) throw new UnpackError('cut');
    return this.#bytes[at];
  }

  #expectCrc(from: number, to: number): void {
    this.#expect(this.#view.getUint32(to, true) === crc32(this.#bytes.subarray(from, to)));
  }

  #expect(condition: boolean): void {
    if (!condition) throw new UnpackError('damaged');
  }
}

interface Filter {
  readonly id: number;
  readonly properties: Uint8Array;
}

function filterChain(filters: readonly Filter[]): { dictionary: number; origin: number | undefined } {
  const last = filters[filters.length - 1];
  const [first] = filters;
  const known = filters.length === 1 || (filters.length === 2 && first.id === FILTER.x86);
  if (last.id !== FILTER.lzma2 || !known) {
    const ids = filters.map(({ id }) => `0x${id.toString(16)}`);
    throw new UnpackError('unsupported', `filters ${ids.join(', ')}; x86 (0x4) and LZMA2 (0x21) are known`);
  }
  return {
    dictionary: dictionarySize(last.properties),
    origin: filters.length === 1 ? undefined : originOf(first),
  };
}

/** Two values to each power of two, from 4 KiB on. */
function dictionarySize(properties: Uint8Array): number {
  const [bits] = properties;
  if (properties.length !== 1 || bits > 40) throw new UnpackError('unsupported', 'dictionary size');
  return bits === 40 ? 2 ** 32 - 1 : (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11);
}

function originOf({ properties }: Filter): number {
  if (properties.length === 0) return 0;
  if (properties.length !== 4) throw new UnpackError('unsupported', 'x86 filter');
  return new DataView(properties.buffer, properties.byteOffset, 4).getUint32(0, true);
}
