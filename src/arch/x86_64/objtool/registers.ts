// Registers of stack states, by their encoding, and what they are called by hints and by ORC.
// Mirrors tools/objtool/arch/x86/include/arch/cfi_regs.h, and arch_decode_hint_reg() and init_orc_entry() for x86.

import { CFA, type CodeRegisters, FP_INDIRECT, SP_INDIRECT, UNDEFINED } from '../../code.ts';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_PREV_SP,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
  ORC_REG_UNDEFINED,
} from '../unwind/orc_registers.ts';

const [DX, BX, DI] = [2, 3, 7];
export const SP = 4;
export const BP = 5;
const [R10, R12, R13, R14, R15] = [10, 12, 13, 14, 15];

export const REGISTERS: CodeRegisters = {
  count: 16,
  sp: SP,
  fp: BP,
  calleeSaved: [BX, BP, R12, R13, R14, R15],
  returnAddress: 16,
  word: 8,
  callFrame: 8,
};

export const HINT_BASES: ReadonlyMap<string, number> = new Map([
  ['', UNDEFINED],
  ['rsp', SP],
  ['rbp', BP],
  ['rdi', DI],
  ['rdx', DX],
  ['r10', R10],
  ['r13', R13],
  ['(rsp)', SP_INDIRECT],
]);

export const ORC_SP_BASES: ReadonlyMap<number, number> = new Map([
  [UNDEFINED, ORC_REG_UNDEFINED],
  [SP, ORC_REG_SP],
  [SP_INDIRECT, ORC_REG_SP_INDIRECT],
  [BP, ORC_REG_BP],
  [FP_INDIRECT, ORC_REG_BP_INDIRECT],
  [R10, ORC_REG_R10],
  [R13, ORC_REG_R13],
  [DI, ORC_REG_DI],
  [DX, ORC_REG_DX],
]);

export const ORC_FP_BASES: ReadonlyMap<number, number> = new Map([
  [UNDEFINED, ORC_REG_UNDEFINED],
  [CFA, ORC_REG_PREV_SP],
  [BP, ORC_REG_BP],
]);
