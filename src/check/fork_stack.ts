// Where paths go on later, with the registers and the stack that they were left with: last in, first out.
//
// Invariant: nothing is allocated for a fork, but when there are more of them at once than ever before.

import { RETURN_WORD } from './caller_stack.ts';
import { CALLER_FP_LO, STACK_HALF, STACK_LO } from './check_layout.ts';
import type { LiveFrame } from './live_frames.ts';
import { SP } from './target.ts';

/** Words of the stack that are followed: up to and with some of the caller's. */
export const TOP = RETURN_WORD + 4;
const NO_FRAMES: readonly LiveFrame[] = [];

/** Registers and stack, halves: what a fork keeps, and what gets it back. */
export interface ForkState {
  readonly registers: Uint32Array;
  readonly words: Uint32Array;
  /** The stack as far as it is known, where that is told apart; else the same as `words`. */
  readonly followed: Uint32Array;
}

export class ForkStack {
  /** By instruction: stack pointer of a fork that waits for it, the last one's; 0 for none. */
  readonly waiting: Int32Array;
  readonly #registerWords: number;
  #insns = new Int32Array(64);
  #ends = new Int32Array(64);
  #frames: (readonly LiveFrame[])[] = [];
  #data = new Uint32Array(0x4000);
  #count = 0;
  #end = 0;

  constructor(instructions: number, registerWords: number) {
    this.waiting = new Int32Array(instructions);
    this.#registerWords = registerWords;
  }

  get count(): number {
    return this.#count;
  }

  /** Forgets all of them. */
  clear(): void {
    while (this.#count > 0) this.drop();
  }

  /**
   * `registers`: from an index on. The stack is kept as it is now; what was written since the fork is of no harm,
   * other than over the caller's rbp, which is taken from what is known of it.
   */
  push(
    insn: number,
    registers: Uint32Array,
    at: number,
    { words, followed }: Pick<ForkState, 'words' | 'followed'>,
    sp: number,
    frames = NO_FRAMES,
  ): void {
    const from = (sp - STACK_LO) >>> 2;
    this.#reserve(this.#registerWords + Math.max(0, TOP - from) + 1);
    const data = this.#data;
    let end = this.#end;
    for (let i = 0; i < this.#registerWords; i++) data[end++] = registers[at + i];
    for (let i = from; i < TOP; i += 2) {
      const saved = followed[i] === CALLER_FP_LO && followed[i + 1] === STACK_HALF;
      data[end++] = saved ? CALLER_FP_LO : words[i];
      data[end++] = saved ? STACK_HALF : words[i + 1];
    }
    this.#insns[this.#count] = insn;
    this.#frames[this.#count] = frames;
    this.#ends[this.#count++] = end;
    this.#end = end;
    this.waiting[insn] = sp;
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

  /** Takes off the last one, into registers and both views of the stack. */
  pop({ registers, words, followed }: ForkState): void {
    const data = this.#data;
    const start = this.#start;
    for (let i = 0; i < this.#registerWords; i++) registers[i] = data[start + i];
    let to = (registers[SP] - STACK_LO) >>> 2;
    for (let i = start + this.#registerWords; i < this.#end && to < TOP; i++, to++) {
      words[to] = data[i];
      followed[to] = data[i];
    }
    this.drop();
  }

  /** Takes off the last one and forgets it. */
  drop(): void {
    this.waiting[this.last] = 0;
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
