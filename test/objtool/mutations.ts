// Broken objects, made from real ones: bytes changed where a program that trusts them would be led astray.
// The same seed makes the same objects.

import { parseElf } from '../../src/elf/elf_object.ts';

/** Numbers below 2^32 from a seed (xorshift32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
  }

  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % Math.max(1, limit);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}

/** Part of the file: start and length. */
type Range = readonly [number, number];

/** What is worth breaking in one object. */
export class Victim {
  readonly bytes: Uint8Array;
  readonly name: string;
  readonly #headers: Range;
  readonly #sections: readonly Range[];
  readonly #tables: readonly Range[];

  constructor(bytes: Uint8Array, name: string) {
    // A copy: slice() of a Buffer is none.
    this.bytes = Uint8Array.from(bytes);
    this.name = name;
    const elf = parseElf(bytes, name);
    const inFile = elf.sections.filter((s) => elf.data(s).length > 0);
    const range = (s: { offset: number; size: number }): Range => [s.offset, s.size];
    this.#headers = [elf.header.shoff, elf.header.shnum * 64];
    this.#sections = inFile.map(range);
    const telling = /^\.(rela|symtab|alt|orc|mcount)|^__|text/;
    this.#tables = inFile.filter((s) => telling.test(s.name)).map(range);
  }

  /** One to eight changes. */
  mutate(random: Random): Uint8Array {
    let bytes: Uint8Array = new Uint8Array(this.bytes);
    for (let left = 1 + random.below(8); left > 0; left--) bytes = this.#change(bytes, random);
    return bytes;
  }

  #change(bytes: Uint8Array, random: Random): Uint8Array {
    switch (random.below(12)) {
      case 0:
        return bytes.slice(0, random.below(bytes.length));
      case 1:
        this.#write(bytes, random, [0, 64]);
        return bytes;
      case 2:
      case 3:
      case 4:
        this.#write(bytes, random, this.#headers);
        return bytes;
      case 5:
        this.#write(bytes, random, random.pick(this.#sections));
        return bytes;
      case 6:
        this.#copy(bytes, random);
        return bytes;
      case 7:
        this.#oneHeaderOverAnother(bytes, random);
        return bytes;
      default:
        this.#write(bytes, random, random.pick(this.#tables));
        return bytes;
    }
  }

  /** A byte, a flipped bit, or a word of a value that tends to be a limit. */
  #write(bytes: Uint8Array, random: Random, [start, length]: Range): void {
    const at = start + random.below(length);
    if (at >= bytes.length) return;
    const how = random.below(4);
    if (how === 0) bytes[at] = random.below(256);
    else if (how === 1) bytes[at] ^= 1 << random.below(8);
    else {
      const aligned = start + ((at - start) & ~3);
      const value = random.pick([
        0,
        1,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        bytes.length,
        random.below(0x10000),
      ]);
      if (aligned + 4 <= bytes.length) new DataView(bytes.buffer).setUint32(aligned, value, true);
    }
  }

  #copy(bytes: Uint8Array, random: Random): void {
    const [from, fromLength] = random.pick(this.#sections);
    const [to, toLength] = random.pick(this.#tables);
    const length = random.below(Math.min(fromLength, toLength) + 1);
    if (Math.max(from, to) + length <= bytes.length) bytes.copyWithin(to, from, from + length);
  }

  #oneHeaderOverAnother(bytes: Uint8Array, random: Random): void {
    const [start, length] = this.#headers;
    const [from, to] = [random.below(length / 64), random.below(length / 64)];
    if (start + length <= bytes.length)
      bytes.copyWithin(start + to * 64, start + from * 64, start + from * 64 + 64);
  }
}
