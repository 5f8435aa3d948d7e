// What a check reports of a function: its instructions by verdict, and why those have none that no path led to.

import { type Code, INSN_BUG, INSN_NOP, INSN_TRAP } from '../objtool/insn.ts';
import type { Forms } from './forms.ts';
import type { FunctionLists } from './function_lists.ts';
import type { PathEnds } from './paths.ts';
import type { FunctionReport } from './verdicts.ts';

export class FunctionReports {
  readonly #code: Code;
  readonly #forms: Forms;
  /** By instruction the worst verdict; 0 where none was given. */
  readonly #worst: Uint8Array;
  /** Of one function, by verdict. */
  readonly #counts = new Uint32Array(4);

  constructor(code: Code, forms: Forms, worst: Uint8Array) {
    this.#code = code;
    this.#forms = forms;
    this.#worst = worst;
  }

  of(func: number, lists: FunctionLists, ends: PathEnds): FunctionReport {
    const counts = this.#counts;
    counts[0] = counts[1] = counts[2] = counts[3] = 0;
    const worst = this.#worst;
    const instructions = lists.length(func);
    for (let i = 0; i < instructions; i++) {
      const insn = lists.at(func, i);
      counts[worst[insn] || this.#worstOfFirst(insn)]++;
    }
    const missing = counts[0];
    const [right, unreliable, wrong] = [counts[1], counts[2], counts[3]];
    const { notCovered, unseen } = missing === 0 ? ALL_COVERED : this.#notCoveredOf(lists.of(func), ends);
    const name = this.#code.input.symbols.name(func);
    const reached = instructions - missing;
    const falls = this.#fallsOf(name, ends);
    return {
      name,
      instructions,
      reached,
      right,
      unreliable,
      wrong,
      ...(missing === 0 ? {} : { notCovered }),
      ...(unseen === 0 ? {} : { unseen }),
      ...(falls.length === 0 ? {} : { falls }),
    };
  }

  /** No-ops that become one instruction are as that is. */
  #worstOfFirst(insn: number): number {
    return this.#worst[this.#forms.first(insn)];
  }

  #notCoveredOf(list: Int32Array, { deadEnds }: PathEnds) {
    const notCovered: Record<string, number> = {};
    const [end] = deadEnds;
    let unseen = 0;
    for (const insn of list) {
      if (this.#worst[insn] !== 0 || this.#worstOfFirst(insn) !== 0) continue;
      const never = NEVER_EXECUTED.get(this.#code.type[insn]);
      const reason = never ?? end ?? 'no path leads there';
      if (!never && end) unseen++;
      notCovered[reason] = (notCovered[reason] ?? 0) + 1;
    }
    return { notCovered, unseen };
  }

  #fallsOf(name: string, { falls, offSection }: PathEnds): string[] {
    if (falls.size === 0 && !offSection) return NO_FALLS;
    // What stands before a function for its callers' use runs into it.
    if (name.startsWith('__cfi_') || name.startsWith('__pfx_')) return [];
    const names = [...falls].map((func) => this.#code.input.symbols.name(func));
    return offSection ? [...names, 'the end of its section'] : names;
  }
}

const NO_FALLS: string[] = [];
const ALL_COVERED = { notCovered: {}, unseen: 0 };

/** Where no path leads, by kind of instruction. */
const NEVER_EXECUTED: ReadonlyMap<number, string> = new Map([
  [INSN_BUG, "marks that nothing executes, as in a static call's trampoline"],
  [INSN_TRAP, 'traps behind a return or a jump, against speculation'],
  [INSN_NOP, 'padding'],
]);
