// struct pt_regs of x86_64, and the System V calling convention. Mirrors arch/x86/include/asm/ptrace.h.

import { type PtRegsLayout, ptRegsOffset, ptRegsSize } from '../pt_regs.ts';

/** Lowest address first. */
export const PT_REGS_NAMES = [
  'r15',
  'r14',
  'r13',
  'r12',
  'bp',
  'bx',
  'r11',
  'r10',
  'r9',
  'r8',
  'ax',
  'cx',
  'dx',
  'si',
  'di',
  'orig_ax',
  'ip',
  'cs',
  'flags',
  'sp',
  'ss',
] as const;

export type PtRegsName = (typeof PT_REGS_NAMES)[number];

/** Low bits of cs: the privilege level. */
const CPL = 3;

export const PT_REGS: PtRegsLayout = {
  words: PT_REGS_NAMES,
  pc: 'ip',
  sp: 'sp',
  fp: 'bp',
  link: undefined,
  args: ['di', 'si', 'dx', 'cx', 'r8', 'r9'],
  syscallArgs: ['di', 'si', 'dx', 'r10', 'r8', 'r9'],
  result: 'ax',
  mode: { word: 'cs', isUser: (low) => (low & CPL) !== 0 },
};

/** Offset of a register in struct pt_regs. */
export const ptReg = (name: PtRegsName): number => ptRegsOffset(PT_REGS, name);

export const PT_REGS_SIZE = ptRegsSize(PT_REGS);
