// The bytes of an SHT_RELA section, row by row.

import { RELA_SIZE } from '../elf/constants.ts';

export class RelaBuilder {
  count = 0;
  #bytes = new Uint8Array(RELA_SIZE * 256);
  #view = new DataView(this.#bytes.buffer);

  add(offset: number, type: number, symbol: number, addend: number): void {
    const at = this.count++ * RELA_SIZE;
    if (at === this.#bytes.length) this.#grow();
    this.#view.setUint32(at, offset, true);
    this.#view.setUint32(at + 8, type, true);
    this.#view.setUint32(at + 12, symbol, true);
    this.#view.setInt32(at + 16, addend, true);
    this.#view.setInt32(at + 20, addend < 0 ? -1 : 0, true);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.count * RELA_SIZE);
  }

  #grow(): void {
    const larger = new Uint8Array(this.#bytes.length * 2);
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
