// Memory as the instructions see it that the engine does itself: accessed as by the core's own, so that what observes
// accesses sees these as well. Of an access that fails nothing is written; the core has the page fault.

import { PAGE_SIZE } from '../../../guest/memory.ts';
import { FETCH, READ, STOP_WATCHED, WRITE } from '../core/kinds.ts';
import { STOP } from '../core/layout.ts';
import type { CoreExports } from './wasm.ts';

const WORD = 8;

export class MachineMemory {
  readonly #core: CoreExports;
  readonly #view: DataView;

  constructor(core: CoreExports, view: DataView) {
    this.#core = core;
    this.#view = view;
  }

  /** Bytes of code, zeros behind the last that may be executed. */
  fetch(va: bigint, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i++) {
      const at = this.#core.reach(behind(va, i), FETCH) >>> 0;
      if (at === 0) break;
      bytes[i] = this.#view.getUint8(at);
    }
    return bytes;
  }

  /** @returns undefined when it failed */
  read(va: bigint, size: number): bigint | undefined {
    if (!this.#isReachable(va, size, READ)) return undefined;
    let value = 0n;
    for (let done = 0; done < size; done += WORD) {
      const part = this.#core.observeRead(behind(va, done), Math.min(WORD, size - done), READ);
      if (this.#isWatched()) return undefined;
      value |= BigInt.asUintN(64, part) << BigInt(8 * done);
    }
    return value;
  }

  /** @returns whether it succeeded */
  write(va: bigint, size: number, value: bigint): boolean {
    if (!this.#isReachable(va, size, WRITE)) return false;
    for (let done = 0; done < size; done += WORD) {
      const part = BigInt.asUintN(64, value >> BigInt(8 * done));
      this.#core.observeWrite(behind(va, done), Math.min(WORD, size - done), part);
      if (this.#isWatched()) return false;
    }
    return true;
  }

  /** No more than 16 bytes: they are in two pages at most. */
  #isReachable(va: bigint, size: number, access: number): boolean {
    if (this.#core.reach(va, access) === 0) return false;
    const inPage = PAGE_SIZE - Number(va % BigInt(PAGE_SIZE));
    return inPage >= size || this.#core.reach(behind(va, inPage), access) !== 0;
  }
  #isWatched(): boolean {
    return this.#view.getUint32(STOP, true) === STOP_WATCHED;
  }
}

const behind = (va: bigint, bytes: number): bigint => BigInt.asUintN(64, va + BigInt(bytes));
