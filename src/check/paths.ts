// The ways that lead from one instruction of a function to others, and how paths of it ended.
//
// Invariant: a path stays in its function: what it jumps into is followed, what it runs into is noted as a fall.

import type { Code } from '../objtool/insn.ts';
import * as insns from '../objtool/insn.ts';
import { REGISTERS, TARGET } from './target.ts';

export interface Visitor {
  /** Before the instruction, with its state in the guest's context. */
  at(insn: number): void;
  /** At a call, before it. */
  call(insn: number): void;
}

/** A callee leaves nothing known in them. */
export const CALLER_SAVED = REGISTERS.callerSaved.map(({ number }) => number);

/** Why paths ended, other than at a return or a call that does not come back. */
type DeadEnd =
  | 'stack pointer left the stack'
  | 'no memory for a stack operation'
  | 'jump without known targets'
  | 'bytes that are no instruction';

/** How paths of a function ended that did not end as a function does. */
export class PathEnds {
  readonly deadEnds = new Set<DeadEnd>();
  /** Functions that are run into; what is true there is theirs to say. */
  readonly falls = new Set<number>();
  /** Whether a path came to the end of its section. */
  offSection = false;
  readonly #code: Code;
  readonly #beforeData: ReadonlySet<number>;
  readonly #foreign: number[] = [];
  #func = 0;

  constructor(code: Code) {
    this.#code = code;
    this.#beforeData = new Set(code.undecoded.map(({ section, start }) => lastBefore(code, section, start)));
  }

  begin(func: number): void {
    if (this.deadEnds.size > 0) this.deadEnds.clear();
    if (this.falls.size > 0) this.falls.clear();
    this.offSection = false;
    this.#func = this.#code.parent[func] || func;
  }

  /** An indirect jump; one without targets is a tail call, as far as is known. */
  jumpSomewhere(insn: number): void {
    if (!(this.#code.flags[insn] & insns.IN_ALTS)) this.deadEnds.add('jump without known targets');
  }

  /** What paths did in other functions that they jumped into, those are not to be judged by alone. */
  visit(insn: number): void {
    if (this.isForeign(insn)) this.#foreign.push(insn);
  }
  takeBack(visits: Uint8Array): void {
    if (this.#foreign.length === 0) return;
    for (const insn of this.#foreign) visits[insn]--;
    this.#foreign.length = 0;
  }

  /** Whether it belongs to another function than the one that is explored. */
  isForeign(insn: number): boolean {
    const func = this.#code.func[insn];
    return func !== 0 && (this.#code.parent[func] || func) !== this.#func;
  }

  /** The instruction behind; 0 where the path ends, which is noted. */
  next(insn: number): number {
    const code = this.#code;
    const group = code.flags[insn] & insns.IN_ALT_GROUP ? code.altGroups.get(insn) : undefined;
    const next = insns.nextInSection(code, insn);
    // The no-op behind the last replacement of a section has the number behind it.
    if (group?.original && (next === 0 || insn === group.last || code.altGroups.get(next) !== group)) {
      return group.original.last + 1;
    }
    if (next === 0) {
      if (this.#beforeData.has(insn)) this.deadEnds.add('bytes that are no instruction');
      else this.offSection = true;
      return 0;
    }
    if (code.func[next] === code.func[insn] || !this.isForeign(next)) return next;
    // Running on into another function is no path of this one.
    this.falls.add(code.func[next]);
    return 0;
  }
}

/** The last instruction before a place, which the place follows at once; 0 for none. */
function lastBefore(code: Code, section: number, offset: number): number {
  for (let at = offset - 1; at >= 0 && at >= offset - TARGET.longestInsn; at--) {
    const insn = code.at(section, at);
    if (insn !== 0) return insn;
  }
  return 0;
}

/** Symbols that calls go to which leave all registers alone. */
export function fentrySymbols(code: Code): ReadonlySet<number> {
  const { symbols } = code.input;
  const found = new Set<number>();
  for (let s = 1; s < symbols.count; s++) {
    if (symbols.section[s] === 0 && symbols.name(s) === '__fentry__') found.add(s);
  }
  return found;
}

/** Behind the no-ops that fill up a replacement. */
export function afterReplacement(code: Code, insn: number): number {
  const group = code.altGroups.get(insn);
  return group?.original ? group.original.last + 1 : 0;
}
