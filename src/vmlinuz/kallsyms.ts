// The names and addresses of a kernel's symbols as it carries them itself, found by their shape: no address is needed.
// Mirrors kernel/kallsyms.c and what scripts/kallsyms.c writes, from 4.6 to 7.3.
//
// A name is a length and so many bytes, each of them a token: a piece of text. The first character is the symbol's type.
//
// Invariants: what is taken for a table fits together in all of its numbers (tokens and their index, lengths and markers,
// addresses in order, the start of text at its address), or it is an error; no place is read that the section has not.

import type { KernelSection, LinkedKernel } from './linked_kernel.ts';

/** How addresses are stored. */
type KallsymsEncoding =
  | 'addresses'
  | 'offsets from a base'
  | 'offsets from a base, those of per-CPU symbols absolute'
  | 'offsets from their own places';

export interface Kallsyms {
  readonly count: number;
  readonly encoding: KallsymsEncoding;
  /** Low and high halves of addresses, ascending. */
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  /** As nm has it. */
  readonly types: Uint8Array;
  name(index: number): string;
}

const TOKENS = 256;
const MARKER_STEP = 256;
const DIGITS = Uint8Array.from([...'0123456789'].flatMap((c) => [c.charCodeAt(0), 0]));
const FIRST_DIGIT = '0'.charCodeAt(0);
/** KSYM_NAME_LEN is 512 at most. */
const LONGEST_NAME = 1024;
const LONGEST_TOKEN = 128;
/** What no kernel has more symbols than. */
const MOST_SYMBOLS = 8_000_000;

/** undefined: there is none, as in a kernel without CONFIG_KALLSYMS. @throws ElfError where there is one that is damaged */
export function readKallsyms(kernel: LinkedKernel): Kallsyms | undefined {
  let damaged: { readonly section: string; readonly at: number; readonly what: string } | undefined;
  for (const section of candidates(kernel)) {
    const data = kernel.data(section);
    for (const tokens of tokenTables(data)) {
      const names = findNames(data, tokens);
      if (!names) {
        damaged ??= { section: section.name, at: tokens.start, what: 'no names before the tokens' };
        continue;
      }
      const addresses = findAddresses(kernel, section, tokens, names);
      if (addresses) return kallsymsAt(kernel, { section: section.index, tokens, names, addresses });
      damaged ??= { section: section.name, at: names.start, what: 'no addresses to the names' };
    }
  }
  if (damaged) throw kernel.error(`kallsyms cannot be read: ${damaged.what}`, damaged.section, damaged.at);
  return undefined;
}

/** It is in .rodata, but what a section is called is the linker script's affair. */
function candidates(kernel: LinkedKernel): KernelSection[] {
  const all = kernel.loaded.filter((section) => kernel.data(section).length > 0);
  const isLikely = ({ name }: KernelSection): boolean => name.startsWith('.rodata');
  return [...all.filter(isLikely), ...all.filter((one) => !isLikely(one) && !one.isText)];
}

interface Tokens {
  readonly start: number;
  /** Behind the index. */
  readonly end: number;
  readonly texts: readonly string[];
}

/** 256 strings behind each other, of which the digits mean themselves, and at once behind them where each begins. */
function* tokenTables(data: Uint8Array): Generator<Tokens> {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  for (let digits = bytes.indexOf(DIGITS); digits >= 0; digits = bytes.indexOf(DIGITS, digits + 1)) {
    const start = startOfTokens(bytes, digits);
    const tokens = start < 0 ? undefined : tokensAt(bytes, start);
    if (tokens) yield tokens;
  }
}

/** Before the digits are as many tokens as their code says. */
function startOfTokens(bytes: Buffer, digits: number): number {
  let at = digits;
  for (let i = 0; i < FIRST_DIGIT; i++) {
    const end = at - 1;
    if (end < 1 || bytes[end] !== 0) return -1;
    const before = bytes.lastIndexOf(0, end - 1);
    if (before < 0 || end - before > LONGEST_TOKEN) return -1;
    at = before + 1;
  }
  return at;
}

function tokensAt(bytes: Buffer, start: number): Tokens | undefined {
  const texts: string[] = [];
  const starts: number[] = [];
  let at = start;
  for (let i = 0; i < TOKENS; i++) {
    const end = bytes.indexOf(0, at);
    if (end < 0 || end - at > LONGEST_TOKEN) return undefined;
    starts.push(at - start);
    texts.push(bytes.toString('latin1', at, end));
    at = end + 1;
  }
  for (const align of [4, 8]) {
    const index = alignUp(at, align);
    if (index + 2 * TOKENS > bytes.length) continue;
    if (starts.every((offset, i) => bytes.readUInt16LE(index + 2 * i) === offset))
      return { start, end: index + 2 * TOKENS, texts };
  }
  return undefined;
}

const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;

interface Names {
  readonly count: number;
  /** Where the number of names stands, and where the first name does. */
  readonly countAt: number;
  readonly start: number;
}

/** Before the tokens, the nearest number that so many names follow, and their markers. */
function findNames(data: Uint8Array, { start: limit, texts }: Tokens): Names | undefined {
  const view = viewOf(data);
  const isType = texts.map((text) => /^[A-Za-z?-]/.test(text));
  for (let at = (limit - 4) & ~3; at >= 0; at -= 4) {
    const count = view.getUint32(at, true);
    const room = limit - at;
    // Each has a length and two bytes or so; none has more than a long name.
    if (count === 0 || count > MOST_SYMBOLS || count * 2 > room || count * LONGEST_NAME < room - 4096)
      continue;
    for (const start of [at + 4, at + 8]) {
      if (areNames(data, view, start, count, limit, isType)) return { count, countAt: at, start };
    }
    if (room > MOST_ROOM) break;
  }
  return undefined;
}

/** What names and markers never take. */
const MOST_ROOM = 64 << 20;

function areNames(
  data: Uint8Array,
  view: DataView,
  start: number,
  count: number,
  limit: number,
  isType: readonly boolean[],
): boolean {
  const markers: number[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    if (i % MARKER_STEP === 0) markers.push(at - start);
    let length = data[at++];
    if (length & 0x80) length = (length & 0x7f) | (data[at++] << 7);
    if (length === 0 || length > LONGEST_NAME || at + length > limit || !isType[data[at]]) return false;
    at += length;
  }
  return [
    [4, 4],
    [8, 4],
    [8, 8],
  ].some(([align, size]) => {
    const from = alignUp(at, align);
    if (from + markers.length * size > limit) return false;
    return markers.every((offset, i) => view.getUint32(from + i * size, true) === offset);
  });
}

interface Addresses {
  readonly encoding: KallsymsEncoding;
  readonly low: Uint32Array;
  readonly high: Uint32Array;
}

interface Place {
  readonly at: number;
  /** Where the base stands. */
  readonly base: number;
}

/** What an address is, from what is stored at its place. */
const DECODERS: Readonly<
  Record<
    Exclude<KallsymsEncoding, 'addresses'>,
    (stored: number, base: bigint, place: number) => readonly [low: number, high: number]
  >
> = {
  'offsets from a base, those of per-CPU symbols absolute': (stored, base) =>
    stored >= 0 ? [stored, 0] : plus(base, -1 - stored),
  'offsets from a base': (stored, base) => plus(base, stored >>> 0),
  'offsets from their own places': (stored, _, place) => [(place + stored) >>> 0, KERNEL],
};
const KERNEL = 0xffffffff;

function plus(base: bigint, offset: number): readonly [number, number] {
  const low = Number(base & 0xffffffffn) + offset;
  return [low % 2 ** 32, (Number(base >> 32n) + Math.floor(low / 2 ** 32)) >>> 0];
}

/** Before the number of names up to 6.3, behind the tokens from 6.4 on; the reading that all of the kernel bears out. */
function findAddresses(
  kernel: LinkedKernel,
  section: KernelSection,
  tokens: Tokens,
  names: Names,
): Addresses | undefined {
  const data = kernel.data(section);
  const view = viewOf(data);
  const { count, countAt } = names;
  const table = new NameReader(data, tokens, names);
  const fits = (found: Addresses): boolean => isAscending(found) && isTextInPlace(kernel, table, found);
  for (const { at, base } of offsetPlaces(tokens.end, countAt, count)) {
    if (at < 0 || at + 4 * count > data.length) continue;
    const start = base >= 0 && base + 8 <= data.length ? view.getBigUint64(base, true) : 0n;
    for (const encoding of Object.keys(DECODERS) as (keyof typeof DECODERS)[]) {
      const decode = DECODERS[encoding];
      const [low, high] = [new Uint32Array(count), new Uint32Array(count)];
      for (let i = 0; i < count; i++) {
        const place = at + 4 * i;
        [low[i], high[i]] = decode(view.getInt32(place, true), start, section.start + place);
      }
      if (fits({ encoding, low, high })) return { encoding, low, high };
    }
  }
  for (const at of [countAt - 8 * count, countAt - 4 - 8 * count, alignUp(tokens.end, 8)]) {
    if (at < 0 || at + 8 * count > data.length) continue;
    const low = Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + 8 * i, true));
    const high = Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + 8 * i + 4, true));
    if (fits({ encoding: 'addresses', low, high })) return { encoding: 'addresses', low, high };
  }
  return undefined;
}

function offsetPlaces(behind: number, countAt: number, count: number): Place[] {
  const places: Place[] = [];
  for (const at of [alignUp(behind, 4), alignUp(behind, 8)]) {
    places.push({ at, base: alignUp(at + 4 * count, 8) });
  }
  // The base lies between them and the number of names, each where 8 divides it.
  for (const base of [countAt - 8, countAt - 12, countAt - 4]) {
    for (const at of [base - 4 * count, base - 4 - 4 * count]) places.push({ at, base });
  }
  return places;
}

function isAscending({ low, high }: Addresses): boolean {
  for (let i = 1; i < low.length; i++) {
    if (high[i] < high[i - 1] || (high[i] === high[i - 1] && low[i] < low[i - 1])) return false;
  }
  return true;
}

const START_OF_TEXT = new Set(['_text', '_stext', '_start', 'startup_64']);

/** The mark of where text begins lies where a section of text does. */
function isTextInPlace(kernel: LinkedKernel, names: NameReader, { low, high }: Addresses): boolean {
  const starts = new Set(kernel.loaded.filter(({ isText }) => isText).map(({ start }) => start));
  const last = high.length;
  for (let i = 0; i < last; i++) {
    if (high[i] !== KERNEL || !starts.has(low[i])) continue;
    if (START_OF_TEXT.has(names.text(i).slice(1))) return true;
  }
  return false;
}

/** Names by their number. */
class NameReader {
  readonly #data: Uint8Array;
  readonly #texts: readonly string[];
  /** Where each begins, its length included. */
  readonly #starts: Uint32Array;

  constructor(data: Uint8Array, { texts }: Tokens, { count, start }: Names) {
    this.#data = data;
    this.#texts = texts;
    this.#starts = new Uint32Array(count);
    for (let i = 0, at = start; i < count; i++) {
      this.#starts[i] = at;
      const length = data[at] & 0x80 ? ((data[at] & 0x7f) | (data[at + 1] << 7)) + 1 : data[at];
      at += 1 + length;
    }
  }

  /** With the type in front. */
  text(index: number): string {
    const data = this.#data;
    let at = this.#starts[index];
    let length = data[at++];
    if (length & 0x80) length = (length & 0x7f) | (data[at++] << 7);
    let text = '';
    for (const end = at + length; at < end; at++) text += this.#texts[data[at]];
    return text;
  }

  type(index: number): number {
    const at = this.#starts[index];
    return this.#texts[this.#data[at] & 0x80 ? this.#data[at + 2] : this.#data[at + 1]].charCodeAt(0);
  }
}

/** Where they were found, and what came of their addresses: what a cache keeps. */
export interface KallsymsPlace {
  readonly section: number;
  readonly tokens: Tokens;
  readonly names: Names;
  readonly addresses: Addresses;
}

/** @param all as readKallsyms() found them */
export function kallsymsPlace(all: Kallsyms): KallsymsPlace {
  if (all instanceof KallsymsTable) return all.place;
  throw new TypeError('symbols of no kernel');
}

/** Once more, in the same kernel. */
export function kallsymsAt(kernel: LinkedKernel, place: KallsymsPlace): Kallsyms {
  return new KallsymsTable(kernel.data(kernel.sections[place.section]), place);
}

class KallsymsTable implements Kallsyms {
  readonly place: KallsymsPlace;
  readonly count: number;
  readonly encoding: KallsymsEncoding;
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  readonly types: Uint8Array;
  readonly #names: NameReader;

  constructor(data: Uint8Array, place: KallsymsPlace) {
    const { tokens, names, addresses } = place;
    const { encoding, low, high } = addresses;
    this.place = place;
    this.count = names.count;
    this.encoding = encoding;
    this.low = low;
    this.high = high;
    this.#names = new NameReader(data, tokens, names);
    this.types = Uint8Array.from({ length: names.count }, (_, i) => this.#names.type(i));
  }

  name(index: number): string {
    return this.#names.text(index).slice(1);
  }
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
