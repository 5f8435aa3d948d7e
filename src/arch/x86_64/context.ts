// The registers of a context, in the order in which instructions number them.

import type { ContextRegisters } from '../context.ts';

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

/** Calls as the System V ABI has them. */
export const CONTEXT: ContextRegisters = {
  pc: REG.rip,
  sp: REG.rsp,
  result: REG.rax,
  args: [REG.rdi, REG.rsi, REG.rdx, REG.rcx, REG.r8, REG.r9],
};
