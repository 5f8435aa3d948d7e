// Writes the operations of one block into the core's arena.
//
// Invariant: the operations of an instruction have its number in the block and where it begins and ends, by which a run
// that ends there knows what it executed.

import {
  BLOCK_HEADER,
  OP_A,
  OP_B,
  OP_C,
  OP_DISP,
  OP_END,
  OP_IMM,
  OP_INDEX,
  OP_SIZE,
  OP_START,
} from '../../core/layout.ts';

/** What an operation has; a and b are addresses of cells. */
interface Operands {
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
  /** b is the operation's own constant. */
  readonly imm?: bigint;
  readonly disp?: number;
}

export class OperationWriter {
  readonly #view: DataView;
  #at = 0;
  /** Of the instruction that is being written. */
  index = 0;
  start = 0;
  end = 0;

  constructor(buffer: ArrayBuffer) {
    this.#view = new DataView(buffer);
  }

  /** Where the next operation goes. */
  get at(): number {
    return this.#at;
  }

  beginBlock(block: number): void {
    this.#at = block + BLOCK_HEADER;
  }

  /** Takes back what was written from there on. */
  rewind(at: number): void {
    this.#at = at;
  }

  /** Address of the constant of the operation that is written next: a cell like others. */
  get immCell(): number {
    return this.#at + OP_IMM;
  }

  op(kind: number, { a = 0, b = 0, c = 0, imm = 0n, disp = 0 }: Operands = {}): void {
    const view = this.#view;
    const at = this.#at;
    view.setUint16(at, kind, true);
    view.setUint16(at + OP_INDEX, this.index, true);
    view.setUint16(at + OP_START, this.start, true);
    view.setUint16(at + OP_END, this.end, true);
    view.setUint32(at + OP_A, a, true);
    view.setUint32(at + OP_B, b, true);
    view.setBigUint64(at + OP_IMM, imm, true);
    view.setInt32(at + OP_DISP, disp, true);
    view.setUint32(at + OP_C, c, true);
    this.#at = at + OP_SIZE;
  }
}
