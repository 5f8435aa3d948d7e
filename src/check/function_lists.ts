// The instructions of each function, in order, cold parts with their functions, without replacements.
//
// Invariant: they are in one array, however many functions there are.

import type { Code } from '../objtool/insn.ts';

export class FunctionLists {
  readonly #insns: Int32Array;
  /** By symbol, where its instructions begin; they end where the next one's begin. */
  readonly #starts: Int32Array;

  constructor({ func, parent, input, firstOf, endOf }: Code) {
    const starts = new Int32Array(input.symbols.count + 2);
    const sections = input.sections.flatMap(({ replacement }, index) => (replacement ? [] : [index]));
    for (const index of sections) {
      for (let insn = firstOf[index]; insn < endOf[index]; insn++) {
        const own = func[insn];
        if (own !== 0) starts[(parent[own] || own) + 2]++;
      }
    }
    for (let f = 2; f < starts.length; f++) starts[f] += starts[f - 1];
    this.#insns = new Int32Array(starts[starts.length - 1]);
    const insns = this.#insns;
    // Each start moves to the next one's while the lists are filled.
    for (const index of sections) {
      for (let insn = firstOf[index]; insn < endOf[index]; insn++) {
        const own = func[insn];
        if (own !== 0) insns[starts[(parent[own] || own) + 1]++] = insn;
      }
    }
    this.#starts = starts;
  }

  of(func: number): Int32Array {
    return this.#insns.subarray(this.#starts[func], this.#starts[func + 1]);
  }

  /** How many a function has. */
  length(func: number): number {
    return this.#starts[func + 1] - this.#starts[func];
  }

  /** One of a function's, by its place among them. */
  at(func: number, place: number): number {
    return this.#insns[this.#starts[func] + place];
  }
}
