// sscanf() over guest memory. Mirrors vsscanf() of lib/vsprintf.c, with its own ideas of widths, sets and signs.

import type { ArgSource } from '../arch/varargs.ts';
import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import { storeInteger } from './store_integer.ts';

const INT_MAX = 0x7fffffff;
const SHRT_MAX = 0x7fff;
const SPACE = /[ \t\n\v\f\r\xa0]/;
/** Bytes that a number with a qualifier fills. */
const SIZES: Readonly<Record<string, number>> = { hh: 1, h: 2, l: 8, L: 8, ll: 8, z: 8 };
const BASES: Readonly<Record<string, number>> = { o: 8, x: 16, X: 16, i: 0, d: 10, u: 10 };
const DIGITS: Readonly<Record<number, RegExp>> = { 0: /\d/, 8: /[0-7]/, 10: /\d/, 16: /[\da-fA-F]/ };

interface Conversion {
  readonly width: number | undefined;
  readonly qualifier: string;
  /** What follows width and qualifier; '' at the end of the format. */
  readonly letter: string;
}

/** @returns how many conversions stored something, %n and skipped ones not counted. */
export function vsscanf(mem: GuestMemory, buf: Addr, format: Addr, args: ArgSource): number {
  return new Scan(mem, mem.readCString(buf), mem.readCString(format), args).run();
}

class Scan {
  readonly #mem: GuestMemory;
  readonly #text: string;
  readonly #format: string;
  readonly #args: ArgSource;
  #at = 0;
  #fmt = 0;
  #found = 0;

  constructor(mem: GuestMemory, text: string, format: string, args: ArgSource) {
    this.#mem = mem;
    this.#text = text;
    this.#format = format;
    this.#args = args;
  }

  run(): number {
    while (this.#fmt < this.#format.length && this.#step());
    return this.#found;
  }

  /** One directive of the format. @returns whether the scan goes on. */
  #step(): boolean {
    const format = this.#format;
    if (SPACE.test(format[this.#fmt])) {
      this.#fmt += leading(format, this.#fmt);
      this.#skipSpaces();
      if (this.#fmt >= format.length) return false;
    }
    if (format[this.#fmt] !== '%') return format[this.#fmt++] === this.#text[this.#at++];
    this.#fmt++;
    if (format[this.#fmt] === '*') return this.#skipWord();
    const conversion = this.#conversion();
    if (conversion === undefined || conversion.letter === '') return false;
    if (conversion.letter === 'n') {
      storeInteger(this.#mem, this.#args(), BigInt(this.#at), 4);
      return true;
    }
    return this.#at < this.#text.length && this.#convert(conversion);
  }

  /** `%*d`: up to the next blank, whatever stands there. */
  #skipWord(): boolean {
    if (this.#at >= this.#text.length) return false;
    for (; this.#fmt < this.#format.length; this.#fmt++) {
      const letter = this.#format[this.#fmt];
      if (letter === '[') return false;
      if (letter === '%' || SPACE.test(letter)) break;
    }
    while (this.#at < this.#text.length && !SPACE.test(this.#text[this.#at])) this.#at++;
    return true;
  }

  /** undefined for a width of 0. */
  #conversion(): Conversion | undefined {
    const rest = this.#format.slice(this.#fmt);
    const [head, digits, qualifier] = /^(\d*)(hh|h|ll|l|L|z)?/.exec(rest) as RegExpExecArray;
    const width = digits === '' ? undefined : (Number(digits) << 16) >> 16;
    if (width !== undefined && width <= 0) return undefined;
    const letter = rest[head.length] ?? '';
    this.#fmt += head.length + letter.length;
    return { width, qualifier: qualifier ?? '', letter };
  }

  #convert({ width, qualifier, letter }: Conversion): boolean {
    if (letter === 'c') return this.#chars(width ?? 1);
    if (letter === 's') return this.#word(width ?? SHRT_MAX);
    if (letter === '[') return width !== undefined && this.#set(width);
    if (letter === '%') return this.#text[this.#at++] === '%';
    const base = BASES[letter];
    return base !== undefined && this.#number(base, letter === 'd' || letter === 'i', width, qualifier);
  }

  #chars(width: number): boolean {
    const taken = this.#text.slice(this.#at, this.#at + width);
    this.#store(this.#args(), taken);
    return true;
  }

  #word(width: number): boolean {
    this.#skipSpaces();
    let end = this.#at;
    while (end < this.#text.length && end - this.#at < width && !SPACE.test(this.#text[end])) end++;
    this.#store(this.#args(), this.#text.slice(this.#at, end), true);
    return true;
  }

  /** A set names its characters one by one: no ranges, and no `]`. */
  #set(width: number): boolean {
    const to = this.#args();
    const negated = this.#format[this.#fmt] === '^';
    const from = this.#fmt + Number(negated);
    const close = this.#format.indexOf(']', from);
    if (close <= from) return false;
    const set = this.#format.slice(from, close);
    this.#fmt = close + 1;
    const within = (at: number): boolean =>
      at < this.#text.length && set.includes(this.#text[at]) !== negated;
    let end = this.#at;
    while (end - this.#at < width && within(end)) end++;
    if (end === this.#at) return false;
    this.#store(to, this.#text.slice(this.#at, end), true);
    return true;
  }

  #number(base: number, signed: boolean, width: number | undefined, qualifier: string): boolean {
    this.#skipSpaces();
    const negative = signed && this.#text[this.#at] === '-';
    if (negative && width === 1) return false;
    if (!DIGITS[base].test(this.#text[this.#at + Number(negative)] ?? '')) return false;
    const start = this.#at + Number(negative);
    const { value, length } = integer(this.#text.slice(start), base, (width ?? INT_MAX) - Number(negative));
    storeInteger(
      this.#mem,
      this.#args(),
      BigInt.asUintN(64, negative ? -value : value),
      SIZES[qualifier] ?? 4,
    );
    this.#found++;
    this.#at = start + length;
    return true;
  }

  #store(to: Addr, text: string, ended = false): void {
    const bytes = Uint8Array.from(ended ? `${text}\0` : text, (char) => char.charCodeAt(0));
    if (bytes.length > 0) this.#mem.writeBytes(to, bytes);
    this.#at += text.length;
    this.#found++;
  }

  #skipSpaces(): void {
    this.#at += leading(this.#text, this.#at);
  }
}

function leading(text: string, from: number): number {
  let at = from;
  while (at < text.length && SPACE.test(text[at])) at++;
  return at - from;
}

/** simple_strntoull(): a prefix that fills the width is passed over, and the number is 0. */
function integer(text: string, base: number, width: number): { value: bigint; length: number } {
  const hex = /^0x[\da-f]/i.test(text);
  const radix = base === 0 ? (hex ? 16 : text.startsWith('0') ? 8 : 10) : base;
  const prefix = radix === 16 && /^0x/i.test(text) ? 2 : 0;
  if (prefix >= width) return { value: 0n, length: width };
  let value = 0n;
  let at = prefix;
  for (; at < text.length && at < width; at++) {
    const digit = Number.parseInt(text[at], 36);
    if (Number.isNaN(digit) || digit >= radix) break;
    value = BigInt.asUintN(64, value * BigInt(radix) + BigInt(digit));
  }
  return { value, length: at };
}
