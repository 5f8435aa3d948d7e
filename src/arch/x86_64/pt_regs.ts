// struct pt_regs of x86_64, and the System V calling convention. Mirrors arch/x86/include/asm/ptrace.h.

import { type PtRegsLayout, ptRegsOffset, ptRegsSize } from '../pt_regs.ts';
import type { PtRegs } from '../unwinders.ts';
import { SELECTOR } from './gdt.ts';

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
  hardware: 'ip',
  mode: { word: 'cs', isUser: (low) => (low & CPL) !== 0 },
};

/** Offset of a register in struct pt_regs. */
const ptReg = (name: PtRegsName): number => ptRegsOffset(PT_REGS, name);

export const PT_R13 = ptReg('r13');
export const PT_BP = ptReg('bp');
export const PT_R10 = ptReg('r10');
export const PT_DX = ptReg('dx');
export const PT_DI = ptReg('di');
export const PT_IP = ptReg('ip');
export const PT_CS = ptReg('cs');
export const PT_SP = ptReg('sp');
export const PT_SS = ptReg('ss');

export const PT_REGS_SIZE = ptRegsSize(PT_REGS);
/** What an exception pushes by itself: ip, cs, flags, sp, ss. */
export const IRET_FRAME_OFFSET = PT_IP;

/** As instructions number them. */
export const PT_REGS_BY_NUMBER: readonly PtRegsName[] = [
  ...(['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const),
];

/** A register file from named values; registers not named are 0, cs is the kernel's. */
export function packPtRegs(values: Partial<Record<PtRegsName, bigint>>, into?: PtRegs): PtRegs {
  const regs = into ?? new Uint32Array(PT_REGS_SIZE / 4);
  regs.fill(0);
  regs[PT_CS / 4] = SELECTOR.KERNEL_CS;
  PT_REGS_NAMES.forEach((name, i) => {
    const value = values[name];
    if (value === undefined) return;
    regs[i * 2] = Number(BigInt.asUintN(32, value));
    regs[i * 2 + 1] = Number(BigInt.asUintN(32, value >> 32n));
  });
  return regs;
}

/** One register of a register file in the layout of struct pt_regs. */
export function ptRegValue(regs: PtRegs, name: PtRegsName): bigint {
  const i = PT_REGS_NAMES.indexOf(name) * 2;
  return (BigInt(regs[i + 1]) << 32n) | BigInt(regs[i]);
}
