// The state of x87 and vector registers as a whole, and what of x87 has no number in it: group 15 of 0F AE, group 9 of
// 0F C7, and control words. Intel SDM volume 2, table A-6; escape opcodes.
//
// What computes with x87 registers is #UD: no module contains any.

import { D, LOAD, MOV, NOP, Q, STORE, W } from '../../core/kinds.ts';
import { REGS, T0, VECTOR_USED, X87, ZERO } from '../../core/layout.ts';
import * as V from '../../core/vector_kinds.ts';
import type { Instruction, Translate } from './instruction.ts';
import { memoryOf } from './operands.ts';

/** Contexts keep their vector registers from now on. */
const uses = ({ w }: Instruction): void => w.setCell(VECTOR_USED, 1);

const image =
  (kind: number, imm = 0): Translate =>
  (i) => {
    uses(i);
    i.w.op(kind, { ...memoryOf(i.w, i.insn, i.next), imm });
  };
/** Of XSAVE's. */
const extended =
  (kind: number, imm = 0): Translate =>
  (i) =>
    i.hasXsave ? image(kind, imm)(i) : false;
const loadMxcsr: Translate = (i) => {
  uses(i);
  i.w.op(LOAD + D, { a: T0, ...memoryOf(i.w, i.insn, i.next) });
  i.w.op(V.V_LDMXCSR, { c: T0 });
};
const storeMxcsr: Translate = (i) => {
  uses(i);
  const at = memoryOf(i.w, i.insn, i.next);
  i.w.op(V.V_STMXCSR, { a: T0 });
  i.w.op(STORE + D, { a: T0, ...at });
};

/** 0F AE /0 to /6, of memory, by extension. */
export const STATE_15: Readonly<Record<number, Translate>> = {
  0: image(V.V_FXSAVE),
  1: image(V.V_FXRSTOR),
  2: loadMxcsr,
  3: storeMxcsr,
  4: extended(V.V_XSAVE),
  5: extended(V.V_XRSTOR),
  6: extended(V.V_XSAVE),
};
/** 0F C7 /3 to /5, of memory: XRSTORS, XSAVEC, XSAVES. */
export const STATE_9: Readonly<Record<number, Translate>> = {
  3: (i) => (i.user ? false : extended(V.V_XRSTOR)(i)),
  4: extended(V.V_XSAVE, 1),
  5: (i) => (i.user ? false : extended(V.V_XSAVE, 1)(i)),
};

const [CONTROL, STATUS] = [X87, X87 + 2];
const storeWord =
  (cell: number): Translate =>
  (i) => {
    uses(i);
    i.w.op(STORE + W, { a: cell, ...memoryOf(i.w, i.insn, i.next) });
  };
const loadControl: Translate = (i) => {
  uses(i);
  i.w.op(LOAD + W, { a: T0, ...memoryOf(i.w, i.insn, i.next) });
  i.w.op(V.V_LDMXCSR, { c: T0, imm: 1 });
};
/** FNINIT: no exception is unmasked, no register is full; no instruction or operand is the last. */
const initialise: Translate = (i) => {
  uses(i);
  i.w.op(MOV + Q, { a: CONTROL, b: i.w.immCell, imm: 0x37f });
  i.w.op(MOV + Q, { a: X87 + 8, b: ZERO });
  i.w.op(MOV + Q, { a: X87 + 16, b: ZERO });
};
const clearExceptions: Translate = (i) => {
  uses(i);
  i.w.op(MOV + W, { a: STATUS, b: ZERO });
};
const statusToAx: Translate = (i) => {
  uses(i);
  i.w.op(MOV + W, { a: REGS, b: STATUS });
};

/** By opcode and ModRM, or its extension where it names memory. */
const ESCAPES: Readonly<Record<string, Translate>> = {
  'd9 /5': loadControl,
  'd9 /7': storeWord(CONTROL),
  'db e2': clearExceptions,
  'db e3': initialise,
  'dd /7': storeWord(STATUS),
  'df e0': statusToAx,
};

/** d8 to df */
export const escaped: Translate = (i) => {
  const { insn } = i;
  const ext = insn.reg & 7;
  const what = insn.mod === 3 ? (0xc0 | (ext << 3) | (insn.rm & 7)).toString(16) : `/${ext}`;
  const translate = ESCAPES[`${insn.opcode.toString(16)} ${what}`];
  return translate ? translate(i) : false;
};
/** 9b, 0F 77: WAIT has nothing to wait for, EMMS nothing to empty. */
export const nothing: Translate = ({ w }) => w.op(NOP);
