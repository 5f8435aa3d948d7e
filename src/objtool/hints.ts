// Unwind hints onto the instructions they stand before.
// Mirrors read_unwind_hints() of tools/objtool/check.c.

import {
  CFA_BASE,
  CFA_OFFSET,
  type CfiTable,
  END,
  FUNC_CFI,
  INIT_CFI,
  NO_CFI,
  SIGNAL,
  TYPE,
  TYPE_CALL,
  TYPE_REGS,
  TYPE_REGS_PARTIAL,
} from './cfi.ts';
import type { CodeHint, CodeHintKind } from './input.ts';
import { type Code, find, IN_HINT, IN_RESTORE, IN_SAVE } from './insn.ts';

interface HintRule {
  readonly type: number;
  readonly end: boolean;
}

const RULES: Readonly<Partial<Record<CodeHintKind, HintRule>>> = {
  empty: { type: TYPE_CALL, end: true },
  entry: { type: TYPE_CALL, end: true },
  undefined: { type: TYPE_CALL, end: false },
  call: { type: TYPE_CALL, end: false },
  regs: { type: TYPE_REGS, end: false },
  regs_partial: { type: TYPE_REGS_PARTIAL, end: false },
};

export function readHints(code: Code, cfis: CfiTable): void {
  code.input.hints.forEach((hint, i) => {
    const insn = find(code, hint);
    if (insn === 0) {
      code.warnings.push(`can't find insn for unwind_hints[${i}]`);
      return;
    }
    if (hint.kind === 'save') {
      code.flags[insn] |= IN_SAVE;
      return;
    }
    code.flags[insn] |= IN_HINT;
    if (hint.kind === 'restore') code.flags[insn] |= IN_RESTORE;
    else if (hint.kind === 'func') code.cfi[insn] = FUNC_CFI;
    else setState(code, cfis, insn, hint);
  });
}

function setState(code: Code, cfis: CfiTable, insn: number, hint: CodeHint): void {
  const rule = RULES[hint.kind] as HintRule;
  const base = code.input.arch.hintBase(hint.base);
  if (base === undefined) {
    code.warnings.push(`unsupported unwind_hint sp base reg ${hint.base}`);
    return;
  }
  const state = cfis.load(code.cfi[insn] === NO_CFI ? INIT_CFI : code.cfi[insn]);
  state[CFA_BASE] = base;
  state[CFA_OFFSET] = hint.frameOffset;
  state[TYPE] = rule.type;
  state[END] = rule.end ? 1 : 0;
  state[SIGNAL] = (hint.signal ?? rule.type !== TYPE_CALL) ? 1 : 0;
  code.cfi[insn] = cfis.intern();
}
