// Writes the operations of one block into the core's arena.
//
// Invariant: the operations of an instruction have its number in the block and where it begins and ends, by which a run
// that ends there knows what it executed.

import { BLOCK_HEADER, OP_A, OP_B, OP_C, OP_DISP, OP_IMM, OP_SIZE, OP_START } from '../../core/layout.ts';
import type { Place } from './place.ts';

/** What an operation has; a and b are addresses of cells. */
interface Operands {
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
  /** The operation's own constant; of a number the sign is above it. */
  readonly imm?: number | bigint;
  readonly disp?: number;
}

/** An address in memory. */
export interface Memory {
  /** Cell of the base, to which `disp` is added. */
  readonly b: number;
  readonly disp: number;
}

const NONE: Operands = {};

export class OperationWriter {
  readonly #words: Int32Array;
  #at = 0;
  /** Of the instruction that is being written. */
  index = 0;
  start = 0;
  end = 0;

  constructor(buffer: ArrayBuffer) {
    this.#words = new Int32Array(buffer);
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

  /** Sets a word of the core's. */
  setCell(at: number, word: number): void {
    this.#words[at >>> 2] = word;
  }

  op(kind: number, { a = 0, b = 0, c = 0, imm = 0, disp = 0 }: Operands = NONE): void {
    this.#write(kind, a, b, c, disp, imm);
  }

  // The forms that most instructions have: nothing is allocated for them, and no object of another shape comes to op().

  /** Without operands. */
  plain(kind: number): void {
    this.#write(kind, 0, 0, 0, 0, 0);
  }

  /** On two cells. */
  cells(kind: number, a: number, b: number): void {
    this.#write(kind, a, b, 0, 0, 0);
  }
  /** On three cells. */
  three(kind: number, a: number, b: number, c: number): void {
    this.#write(kind, a, b, c, 0, 0);
  }
  /** On two cells, and a constant in place of the third. */
  twoAndConstant(kind: number, a: number, b: number, imm: number): void {
    this.#write(kind, a, b, this.immCell, 0, imm);
  }
  /** On two cells, by a number that says what is done to them. */
  numbered(kind: number, a: number, b: number, number: number): void {
    this.#write(kind, a, b, 0, 0, number);
  }
  /** An address into a cell: base, index and how far it is shifted, and what is added. */
  address(kind: number, a: number, b: number, c: number, disp: number, shift = 0): void {
    this.#write(kind, a, b, c, disp, shift);
  }
  /** On a cell, and a constant in place of the other. */
  constant(kind: number, a: number, imm: number | bigint): void {
    this.#write(kind, a, this.immCell, 0, 0, imm);
  }
  /** On a cell and memory. */
  memory(kind: number, a: number, { b, disp }: Memory): void {
    this.#write(kind, a, b, 0, disp, 0);
  }

  /** A constant, and memory. */
  constantTo(kind: number, imm: number, { b, disp }: Memory): void {
    this.#write(kind, this.immCell, b, 0, disp, imm);
  }

  /** One that goes to an address a distance away from a place; a, b and c if it has them. */
  toAddress(kind: number, place: Place, distance: number, a = 0, b = 0, c = 0): void {
    const at = this.#at >>> 2;
    this.#write(kind, a, b, c, 0, 0);
    this.#words[at + OP_IMM / 4] = place.low(distance);
    this.#words[at + OP_IMM / 4 + 1] = place.high(distance);
  }

  /** Two numbers of 16 bits to a word: the kind and OP_INDEX, OP_START and OP_END. */
  #write(kind: number, a: number, b: number, c: number, disp: number, imm: number | bigint): void {
    const words = this.#words;
    const at = this.#at >>> 2;
    words[at] = kind | (this.index << 16);
    words[at + OP_START / 4] = this.start | (this.end << 16);
    words[at + OP_A / 4] = a;
    words[at + OP_B / 4] = b;
    words[at + OP_DISP / 4] = disp;
    words[at + OP_C / 4] = c;
    if (typeof imm === 'number') {
      words[at + OP_IMM / 4] = imm;
      words[at + OP_IMM / 4 + 1] = imm >> 31;
    } else {
      words[at + OP_IMM / 4] = Number(BigInt.asIntN(32, imm));
      words[at + OP_IMM / 4 + 1] = Number(BigInt.asIntN(32, imm >> 32n));
    }
    this.#at += OP_SIZE;
  }
}
