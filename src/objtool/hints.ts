// Unwind hints onto the instructions they stand before.
// Mirrors read_unwind_hints() of tools/objtool/check.c.

import {
  BP,
  Cfi,
  DI,
  DX,
  functionCfi,
  R10,
  R13,
  SP,
  SP_INDIRECT,
  TYPE_CALL,
  TYPE_REGS,
  TYPE_REGS_PARTIAL,
  UNDEFINED,
} from './cfi.ts';
import type { CodeHint, CodeHintKind, CodeMark } from './input.ts';
import type { CodeInsn } from './insn.ts';

const BASES: Readonly<Record<string, number>> = {
  '': UNDEFINED,
  rsp: SP,
  rbp: BP,
  rdi: DI,
  rdx: DX,
  r10: R10,
  r13: R13,
  '(rsp)': SP_INDIRECT,
};

interface HintRule {
  readonly type: number;
  readonly end: boolean;
}

const RULES: Readonly<Partial<Record<CodeHintKind, HintRule>>> = {
  empty: { type: TYPE_CALL, end: true },
  entry: { type: TYPE_CALL, end: true },
  undefined: { type: TYPE_CALL, end: false },
  regs: { type: TYPE_REGS, end: false },
  regs_partial: { type: TYPE_REGS_PARTIAL, end: false },
  iret_regs: { type: TYPE_REGS_PARTIAL, end: false },
};

export function readHints(
  hints: readonly CodeHint[],
  find: (mark: CodeMark) => CodeInsn | undefined,
  warn: (text: string) => void,
): void {
  hints.forEach((hint, i) => {
    const insn = find(hint);
    if (!insn) {
      warn(`can't find insn for unwind_hints[${i}]`);
      return;
    }
    if (hint.kind === 'save') {
      insn.save = true;
      return;
    }
    insn.hint = true;
    if (hint.kind === 'restore') insn.restore = true;
    else if (hint.kind === 'func') insn.cfi = functionCfi();
    else setState(insn, hint, warn);
  });
}

function setState(insn: CodeInsn, hint: CodeHint, warn: (text: string) => void): void {
  const rule = RULES[hint.kind] as HintRule;
  const base = BASES[hint.base];
  if (base === undefined) {
    warn(`unsupported unwind_hint sp base reg ${hint.base}`);
    return;
  }
  const cfi = insn.cfi?.copy() ?? new Cfi();
  cfi.cfaBase = base;
  cfi.cfaOffset = hint.frameOffset;
  cfi.type = rule.type;
  cfi.end = rule.end;
  insn.cfi = cfi;
}
