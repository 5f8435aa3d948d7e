// Draws values that find faults: the borders of every size, and plain random ones.

import { SeededRandom } from '../../../../src/kernel/random.ts';

const BORDERS = [
  0n,
  1n,
  2n,
  3n,
  7n,
  8n,
  15n,
  16n,
  31n,
  32n,
  33n,
  63n,
  64n,
  65n,
  0x0fn,
  0x10n,
  0xffn,
  0x100n,
].concat([7n, 8n, 15n, 16n, 31n, 32n, 63n].flatMap((bit) => [(1n << bit) - 1n, 1n << bit, (1n << bit) + 1n]));

/** Halves of the borders and of their negatives: low, high. */
const halvesOf = (value: bigint): readonly [number, number] => [
  Number(value & 0xffffffffn),
  Number((value >> 32n) & 0xffffffffn),
];
const HALVES = BORDERS.map(halvesOf);
const NEGATIVE_HALVES = BORDERS.map((value) => halvesOf(BigInt.asUintN(64, -value)));

export class Draw {
  readonly #random: SeededRandom;
  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }
  below(bound: number): number {
    return this.#random.below(bound);
  }
  /** True once in so many times. */
  once(times: number): boolean {
    return this.#random.below(times) === 0;
  }
  oneOf<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)];
  }
  u64(): bigint {
    return (BigInt(this.#random.next()) << 32n) | BigInt(this.#random.next());
  }
  /** A border or its negative, a sign-extended half, or anything. */
  value(): bigint {
    switch (this.#random.below(8)) {
      case 0:
      case 1:
        return this.oneOf(BORDERS);
      case 2:
        return BigInt.asUintN(64, -this.oneOf(BORDERS));
      case 3:
        return BigInt.asUintN(64, BigInt.asIntN(32, BigInt(this.#random.next())));
      case 4:
        return BigInt(this.#random.next());
      default:
        return this.u64();
    }
  }
  /** As many values, one behind the other: hundreds of registers' worth, without a number of 64 bits between. */
  values(count: number): Uint8Array<ArrayBuffer> {
    const halves = new Uint32Array(2 * count);
    const random = this.#random;
    for (let i = 0; i < halves.length; i += 2) {
      const way = random.below(8);
      if (way < 3) {
        const [low, high] = (way < 2 ? HALVES : NEGATIVE_HALVES)[random.below(BORDERS.length)];
        halves[i] = low;
        halves[i + 1] = high;
        continue;
      }
      if (way > 4) halves[i + 1] = random.next();
      halves[i] = random.next();
      if (way === 3 && halves[i] >>> 31) halves[i + 1] = 0xffffffff;
    }
    return new Uint8Array(halves.buffer);
  }
  /** Of a size that 4 divides. */
  bytes(size: number): Uint8Array<ArrayBuffer> {
    const words = new Uint32Array(size / 4);
    for (let i = 0; i < words.length; i++) words[i] = this.#random.next();
    return new Uint8Array(words.buffer);
  }
}

/** The seed that a name stands for. */
export function seedOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
