// The registers of a context, in the order in which instructions number them.

import type { ContextRegisters } from '../context.ts';
import { SELECTOR } from './gdt.ts';
import { PT_REGS_NAMES, type PtRegsName } from './pt_regs.ts';

/** Index of a register in a context. */
export const REG = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
  rip: 16,
  rflags: 17,
} as const;
export type RegName = keyof typeof REG;

const wordOf = (name: PtRegsName): number => 2 * PT_REGS_NAMES.indexOf(name);
const [CS, SS, ORIG_AX] = [wordOf('cs'), wordOf('ss'), wordOf('orig_ax')];
/** Where in struct pt_regs, in 32-bit words, each register of a context is saved. */
const SAVED: readonly (readonly [word: number, reg: number])[] = Object.entries(REG).map(([name, reg]) => [
  wordOf(name.replace(/^r(?=[a-z])/, '') as PtRegsName),
  reg,
]);

/** Calls as the System V ABI has them. */
export const CONTEXT: ContextRegisters = {
  pc: REG.rip,
  sp: REG.rsp,
  result: REG.rax,
  args: [REG.rdi, REG.rsi, REG.rdx, REG.rcx, REG.r8, REG.r9],

  save({ halves, userMode }, into) {
    for (const [word, reg] of SAVED) {
      into[word] = halves[2 * reg];
      into[word + 1] = halves[2 * reg + 1];
    }
    into.fill(0, CS, CS + 2);
    into.fill(0, SS, SS + 2);
    into[CS] = userMode ? SELECTOR.USER_CS : SELECTOR.KERNEL_CS;
    into[SS] = userMode ? SELECTOR.USER_DS : SELECTOR.KERNEL_DS;
    into.fill(0xffffffff, ORIG_AX, ORIG_AX + 2);
  },
};
