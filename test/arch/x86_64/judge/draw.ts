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
