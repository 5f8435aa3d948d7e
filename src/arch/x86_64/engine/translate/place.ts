// Addresses of the text that is translated.

/** An address, in halves: what is computed for each instruction is no bigint. */
export class Place {
  offset = 0;
  #base = 0n;
  #low = 0;
  #high = 0;

  /** Of the block. */
  get base(): bigint {
    return this.#base;
  }
  set base(base: bigint) {
    if (base === this.#base) return;
    this.#base = base;
    this.#low = Number(BigInt.asUintN(32, base));
    this.#high = Number(BigInt.asUintN(32, base >> 32n));
  }

  /** Halves, signed, of the address that is a distance away from it. */
  low(distance: number): number {
    return (this.#low + this.offset + distance) | 0;
  }
  high(distance: number): number {
    return (this.#high + Math.floor((this.#low + this.offset + distance) / 2 ** 32)) | 0;
  }
  plus(distance: number): bigint {
    return BigInt.asUintN(64, this.#base + BigInt(this.offset + distance));
  }
}
