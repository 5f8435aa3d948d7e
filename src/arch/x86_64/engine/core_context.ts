// The context of an emulated CPU: a piece of the core's linear memory, which it copies in before a run and back behind it.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext } from '../../../guest/engine.ts';
import { CONTEXT_SIZE, CPL, GS_BASE, MXCSR, REGS } from '../core/layout.ts';

/** MXCSR after a reset. */
const MXCSR_RESET = 0x1f80;

export class CoreContext implements CpuContext {
  /** Where it lies in linear memory. */
  readonly at: number;
  readonly regs: BigUint64Array;
  readonly halves: Uint32Array;
  readonly #cells: BigUint64Array;

  constructor(buffer: ArrayBuffer, at: number) {
    this.at = at;
    this.regs = new BigUint64Array(buffer, at, 18);
    this.halves = new Uint32Array(buffer, at, 36);
    this.#cells = new BigUint64Array(buffer, at, CONTEXT_SIZE / 8);
    this.#cells[(MXCSR - REGS) / 8] = BigInt(MXCSR_RESET);
  }

  get userMode(): boolean {
    return this.#cells[(CPL - REGS) / 8] !== 0n;
  }
  setUserMode(user: boolean): void {
    this.#cells[(CPL - REGS) / 8] = user ? 3n : 0n;
  }
  get perCpuBase(): Addr {
    return this.#cells[(GS_BASE - REGS) / 8];
  }
  set perCpuBase(value: Addr) {
    this.#cells[(GS_BASE - REGS) / 8] = value;
  }
  /** The core reads all of it before each run. */
  touch(): void {}
}
