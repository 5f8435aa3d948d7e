// Where paths go on later, with the registers and the stack that they were left with: last in, first out.
//
// Invariant: nothing is allocated for a fork, but when there are more of them at once than ever before.

import { REG } from '../arch/x86_64/context.ts';
import { RETURN_WORD } from './caller_stack.ts';
import { CALLER_BP_LO, STACK_HALF, STACK_LO } from './check_layout.ts';

const SP = 2 * REG.rsp;
const REGISTER_WORDS = 32;
/** Words of the stack that are followed: up to and with some of the caller's. */
export const TOP = RETURN_WORD + 4;

export class ForkStack {
  #insns = new Int32Array(64);
  #ends = new Int32Array(64);
  #data = new Uint32Array(0x4000);
  #count = 0;
  #end = 0;

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#count = 0;
    this.#end = 0;
  }

  insnAt(i: number): number {
    return this.#insns[i];
  }

  /**
   * `registers`: 32 halves, from an index on. `words`: the stack as it is now; `followed`: as it was at the fork,
   * what is known of it. What was written since is of no harm, other than over the caller's rbp.
   */
  push(
    insn: number,
    registers: Uint32Array,
    at: number,
    sp: number,
    words: Uint32Array,
    followed: Uint32Array,
  ): void {
    const from = (sp - STACK_LO) >>> 2;
    this.#reserve(REGISTER_WORDS + Math.max(0, TOP - from));
    const data = this.#data;
    let end = this.#end;
    for (let i = 0; i < REGISTER_WORDS; i++) data[end++] = registers[at + i];
    for (let i = from; i < TOP; i += 2) {
      const saved = followed[i] === CALLER_BP_LO && followed[i + 1] === STACK_HALF;
      data[end++] = saved ? CALLER_BP_LO : words[i];
      data[end++] = saved ? STACK_HALF : words[i + 1];
    }
    this.#insns[this.#count] = insn;
    this.#ends[this.#count++] = end;
    this.#end = end;
  }

  /** Takes off the last one, into registers and both views of the stack; the instruction, or 0 for none. */
  pop(registers: Uint32Array, words: Uint32Array, followed: Uint32Array): number {
    if (this.#count === 0) return 0;
    const data = this.#data;
    const end = this.#ends[--this.#count];
    const start = this.#count === 0 ? 0 : this.#ends[this.#count - 1];
    for (let i = 0; i < REGISTER_WORDS; i++) registers[i] = data[start + i];
    let to = (registers[SP] - STACK_LO) >>> 2;
    for (let i = start + REGISTER_WORDS; i < end; i++, to++) {
      words[to] = data[i];
      followed[to] = data[i];
    }
    this.#end = start;
    return this.#insns[this.#count];
  }

  /** Stack pointer of the last one. */
  get lastSp(): number {
    return this.#data[(this.#count < 2 ? 0 : this.#ends[this.#count - 2]) + SP];
  }
  /** Takes off the last one and forgets it; the instruction. */
  drop(): number {
    this.#end = this.#count < 2 ? 0 : this.#ends[this.#count - 2];
    return this.#insns[--this.#count];
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
