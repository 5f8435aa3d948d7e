// Lines of /proc/kallsyms, as bytes: there are 200,000 of them, and a string for each is what takes longest.

import { type Addr, hi32, lo32 } from '../guest/addr.ts';
import type { PackedNames } from './packed_names.ts';

const DIGITS = Uint8Array.from([...'0123456789abcdef'], (digit) => digit.charCodeAt(0));
const SPACE = ' '.charCodeAt(0);
const NEWLINE = '\n'.charCodeAt(0);
const HALF_SIZE = 8;
/** Address, blank, letter, blank, newline. */
const LEAST = 2 * HALF_SIZE + 4;

export class SymbolLines {
  #bytes: Uint8Array;
  #length = 0;

  /** @param size how many bytes to have room for at first */
  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
  }

  /** @param text of one byte a character */
  add(addr: Addr, type: string, text: string): void {
    this.#begin(hi32(addr), lo32(addr), type.charCodeAt(0), text.length);
    this.#text(text);
    this.#bytes[this.#length++] = NEWLINE;
  }

  /** With the name of a number. */
  addBytes(
    high: number,
    low: number,
    type: number,
    { columns }: PackedNames,
    i: number,
    behind: string,
  ): void {
    const { bytes, starts } = columns;
    const start = starts[i];
    const end = starts[i + 1];
    this.#begin(high, low, type, end - start + behind.length);
    const into = this.#bytes;
    let length = this.#length;
    for (let at = start; at < end; at++) into[length++] = bytes[at];
    for (let k = 0; k < behind.length; k++) into[length++] = behind.charCodeAt(k);
    into[length++] = NEWLINE;
    this.#length = length;
  }

  /** What was added so far. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #text(text: string): void {
    for (let k = 0; k < text.length; k++) this.#bytes[this.#length++] = text.charCodeAt(k);
  }

  #begin(high: number, low: number, type: number, text: number): void {
    this.#makeRoom(LEAST + text);
    this.#half(high);
    this.#half(low);
    this.#bytes[this.#length++] = SPACE;
    this.#bytes[this.#length++] = type;
    this.#bytes[this.#length++] = SPACE;
  }

  #half(value: number): void {
    const into = this.#bytes;
    const length = this.#length;
    for (let i = 0; i < HALF_SIZE; i++) into[length + i] = DIGITS[(value >>> (28 - 4 * i)) & 0xf];
    this.#length = length + HALF_SIZE;
  }

  #makeRoom(size: number): void {
    if (this.#length + size <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + size));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
