// Where paths go on later, with the registers and the stack that they were left with: last in, first out.
//
// Invariant: nothing is allocated for a fork, but when there are more of them at once than ever before.

import { RETURN_WORD } from './caller_stack.ts';
import { STACK_LO } from './check_layout.ts';
import type { LiveFrame } from './live_frames.ts';
import { SP } from './target.ts';

/** Words of the stack that are followed: up to and with some of the caller's. */
const TOP = RETURN_WORD + 4;
const NO_FRAMES: readonly LiveFrame[] = [];

/** Registers and stack, halves: what a fork keeps, and what gets it back. */
export interface ForkState {
  readonly registers: Uint32Array;
  readonly words: Uint32Array;
}

export class ForkStack {
  readonly #registerWords: number;
  #insns = new Int32Array(64);
  #ends = new Int32Array(64);
  #frames: (readonly LiveFrame[])[] = [];
  #data = new Uint32Array(0x1000);
  #count = 0;
  #end = 0;

  constructor(registerWords: number) {
    this.#registerWords = registerWords;
  }

  get count(): number {
    return this.#count;
  }

  push(insn: number, { registers, words }: ForkState, frames = NO_FRAMES): void {
    const from = (registers[SP] - STACK_LO) >>> 2;
    this.#reserve(this.#registerWords + Math.max(0, TOP - from) + 1);
    const data = this.#data;
    let end = this.#end;
    for (let i = 0; i < this.#registerWords; i++) data[end++] = registers[i];
    for (let i = from; i < TOP; i++) data[end++] = words[i];
    this.#insns[this.#count] = insn;
    this.#frames[this.#count] = frames;
    this.#ends[this.#count++] = end;
    this.#end = end;
  }

  /** The last one's instruction. */
  get last(): number {
    return this.#insns[this.#count - 1];
  }
  get lastSp(): number {
    return this.#data[this.#start + SP];
  }
  /** Calls that its path had followed. */
  get lastFrames(): readonly LiveFrame[] {
    return this.#frames[this.#count - 1];
  }
  get #start(): number {
    return this.#count < 2 ? 0 : this.#ends[this.#count - 2];
  }

  /** Takes off the last one, into registers and stack. */
  pop({ registers, words }: ForkState): void {
    const data = this.#data;
    const start = this.#start;
    for (let i = 0; i < this.#registerWords; i++) registers[i] = data[start + i];
    let to = (registers[SP] - STACK_LO) >>> 2;
    for (let i = start + this.#registerWords; i < this.#end && to < TOP; i++, to++) {
      words[to] = data[i];
    }
    this.drop();
  }

  /** Takes off the last one and forgets it. */
  drop(): void {
    this.#end = this.#start;
    this.#count--;
  }

  #reserve(words: number): void {
    if (this.#count === this.#insns.length) {
      this.#insns = larger(this.#insns, new Int32Array(2 * this.#count));
      this.#ends = larger(this.#ends, new Int32Array(2 * this.#count));
    }
    if (this.#end + words > this.#data.length) {
      this.#data = larger(this.#data, new Uint32Array(2 * (this.#end + words)));
    }
  }
}

function larger<T extends Int32Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
