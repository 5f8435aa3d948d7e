// The one seeded source of choice: xoshiro128** over a splitmix32-expanded seed.

export class SeededRandom {
  readonly #s = new Uint32Array(4);

  /** @param seed any 32-bit integer. */
  constructor(seed: number) {
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.#s[i] = z ^ (z >>> 15);
    }
  }

  /** The next unsigned 32-bit number. */
  next(): number {
    const s = this.#s;
    const r = Math.imul(s[1], 5);
    const result = Math.imul((r << 7) | (r >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  keep(): Uint32Array {
    return this.#s;
  }
  restore(kept: Uint32Array): void {
    this.#s.set(kept);
  }

  /** A number in [0, bound). */
  below(bound: number): number {
    return this.next() % bound;
  }
}
