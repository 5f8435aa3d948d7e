// The registers of ORC entries, by the numbers of 6.1. Mirrors arch/x86/include/asm/orc_types.h.

export { ORC_REG_PREV_SP, ORC_REG_UNDEFINED } from '../../../elf/orc.ts';

export const ORC_REG_DX = 2;
export const ORC_REG_DI = 3;
export const ORC_REG_BP = 4;
export const ORC_REG_SP = 5;
export const ORC_REG_R10 = 6;
export const ORC_REG_R13 = 7;
export const ORC_REG_BP_INDIRECT = 8;
export const ORC_REG_SP_INDIRECT = 9;
/** In a layout that has other numbers: one of a register that 6.1 has not. */
export const ORC_REG_NONE = 15;

/** As `objtool --dump=orc` has them. */
export const ORC_REG_NAMES: readonly string[] = [
  'undefined',
  'prevsp',
  'dx',
  'di',
  'bp',
  'sp',
  'r10',
  'r13',
  '(bp)',
  '(sp)',
];
