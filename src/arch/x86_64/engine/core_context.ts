// The context of an emulated CPU: a piece of the core's linear memory, which it copies in before a run and back behind it.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext } from '../../../guest/engine.ts';
import {
  CONTEXT_SIZE,
  CPL,
  CR3,
  GS_BASE,
  MXCSR,
  REGS,
  VECTOR_OWNER,
  VECTOR_SIZE,
  X87,
  ZMM,
} from '../core/layout.ts';

/** After a reset; and the control word of the x87 FPU after FNINIT. */
const MXCSR_RESET = 0x1f80;
const FPU_CONTROL_RESET = 0x37f;

export class CoreContext implements CpuContext {
  /** Where it lies in linear memory. */
  readonly at: number;
  readonly regs: BigUint64Array;
  readonly halves: Uint32Array;
  readonly #cells: BigUint64Array;
  readonly #space: Uint32Array;
  readonly #owner: Uint32Array;
  /** Where its vector registers wait. */
  readonly #waiting: DataView;
  /** Where those are that the core works on. */
  readonly #working: DataView;

  /** @param vectorsAt where its vector registers lie */
  constructor(buffer: ArrayBuffer, at: number, vectorsAt = at + CONTEXT_SIZE) {
    this.at = at;
    this.regs = new BigUint64Array(buffer, at, 18);
    this.halves = new Uint32Array(buffer, at, 36);
    this.#cells = new BigUint64Array(buffer, at, CONTEXT_SIZE / 8);
    this.#space = new Uint32Array(buffer, at + CR3 - REGS, 1);
    this.#owner = new Uint32Array(buffer, VECTOR_OWNER, 1);
    this.#waiting = new DataView(buffer, vectorsAt, VECTOR_SIZE);
    this.#working = new DataView(buffer, ZMM, VECTOR_SIZE);
    const vectors = new Uint32Array(buffer, vectorsAt);
    vectors[(MXCSR - ZMM) / 4] = MXCSR_RESET;
    vectors[(X87 - ZMM) / 4] = FPU_CONTROL_RESET;
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
  get space(): number {
    return this.#space[0] >>> 12;
  }
  /** The core reads all of it before each run. */
  touch(): void {}

  /** Vector registers, masks, MXCSR and x87, as the core has them from ZMM on. Valid until it runs again. */
  get vectors(): DataView {
    return this.#owner[0] === this.at ? this.#working : this.#waiting;
  }

  /** A cell by its offset in bytes. */
  cell(offset: number): bigint {
    return this.#cells[offset / 8];
  }
  setCell(offset: number, value: bigint): void {
    this.#cells[offset / 8] = value;
  }
}
