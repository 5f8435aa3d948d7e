// The two forms of an alternative at the one place where the kernel has them: the original, and the replacement, which is
// copied over it. Of no-ops that follow each other there the kernel makes one instruction.
// Mirrors apply_alternatives() and optimize_nops() of arch/x86/kernel/alternative.c.
//
// Invariant: an address that is judged is one that an instruction pointer can have.

import { type Code, IN_ALT_GROUP, INSN_NOP } from '../objtool/insn.ts';
import type { LoadedText } from './loaded_text.ts';

export class Forms {
  readonly #code: Code;
  readonly #text: LoadedText;

  constructor(code: Code, text: LoadedText) {
    this.#code = code;
    this.#text = text;
  }

  /** Low half of the address that an instruction has when the kernel runs, signed. */
  ip(insn: number): number {
    const { section, offset, flags, altGroups } = this.#code;
    const group = flags[insn] & IN_ALT_GROUP ? altGroups.get(insn) : undefined;
    const original = group?.original;
    if (!group || !original) return (this.#text.start[section[insn]] + offset[insn]) | 0;
    const first = original.first;
    return (this.#text.start[section[first]] + offset[first] + offset[insn] - offset[group.first]) | 0;
  }

  /** The instruction of the original at that address, or that it lies in; 0 where it is none of its own. */
  home(insn: number): number {
    const { section, offset, flags, altGroups } = this.#code;
    const group = flags[insn] & IN_ALT_GROUP ? altGroups.get(insn) : undefined;
    if (!group) return insn;
    if (this.first(insn) !== insn) return 0;
    if (!group.original) return insn;
    const { first, last } = group.original;
    const at = offset[first] + offset[insn] - offset[group.first];
    let home = first;
    while (home < last && offset[home + 1] <= at) home++;
    return section[home] === section[first] ? home : 0;
  }

  /** Of no-ops that follow each other in either form the first, which all of them become; of others itself. */
  first(insn: number): number {
    const { flags, type, altGroups } = this.#code;
    if (type[insn] !== INSN_NOP || !(flags[insn] & IN_ALT_GROUP)) return insn;
    const group = altGroups.get(insn);
    if (!group) return insn;
    let first = insn;
    while (first > group.first && type[first - 1] === INSN_NOP) first--;
    return first;
  }
}
