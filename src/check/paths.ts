// Which ways execution is driven through code: what both explorers of a function go by.
//
// Invariant: an instruction is executed once for each stack pointer that paths bring there, at most
// MAX_VISITS times: loops end, and paths that disagree on the stack are all looked at.

import { REG } from '../guest/engine.ts';
import type { Code } from '../objtool/insn.ts';
import * as insns from '../objtool/insn.ts';

export interface Visitor {
  /** Before the instruction, with its state in the guest's context. */
  at(insn: number): void;
  /** At a call, before it. */
  call(insn: number): void;
}

export const MAX_VISITS = 3;

/** A callee leaves nothing known in them. */
export const CALLER_SAVED = [REG.rax, REG.rcx, REG.rdx, REG.rsi, REG.rdi, REG.r8, REG.r9, REG.r10, REG.r11];

/** Why paths ended, other than at a return or a call that does not come back. */
export type DeadEnd =
  | 'stack pointer left the stack'
  | 'no memory for a stack operation'
  | 'jump without known targets';

/** Symbols that calls go to which leave all registers alone. */
export function fentrySymbols(code: Code): ReadonlySet<number> {
  const { symbols } = code.input;
  const found = new Set<number>();
  for (let s = 1; s < symbols.count; s++) {
    if (symbols.section[s] === 0 && symbols.name(s) === '__fentry__') found.add(s);
  }
  return found;
}

/** The instruction behind; 0 where the path ends. */
export function nextOnPath(code: Code, insn: number): number {
  const group = code.flags[insn] & insns.IN_ALT_GROUP ? code.altGroups.get(insn) : undefined;
  if (group?.original && (insn === group.last || code.altGroups.get(insn + 1) !== group)) {
    return group.original.last + 1;
  }
  const next = insns.nextInSection(code, insn);
  // Running on into another function is no path of this one.
  if (next !== 0 && code.func[next] !== code.func[insn] && code.func[insn] !== 0) return 0;
  return next;
}

/** Behind the no-ops that fill up a replacement. */
export function afterReplacement(code: Code, insn: number): number {
  const group = code.altGroups.get(insn);
  return group?.original ? group.original.last + 1 : 0;
}
