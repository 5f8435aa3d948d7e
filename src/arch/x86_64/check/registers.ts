// The registers of x86_64 as src/check asks for them. Calls as the System V ABI has them.

import type { CheckedRegisters, NamedRegister } from '../../checking.ts';
import { REG, type RegName } from '../context.ts';
import { SELECTOR } from '../gdt.ts';
import { PT_REGS_NAMES } from '../pt_regs.ts';
import { RFLAGS } from '../rflags.ts';

const named = (name: RegName): NamedRegister => ({ name, number: REG[name] });
const CALLEE_SAVED: readonly RegName[] = ['rbp', 'rbx', 'r12', 'r13', 'r14', 'r15'];
const CALLER_SAVED: readonly RegName[] = ['rax', 'rcx', 'rdx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11'];

/** pt_regs drops the r of the registers that have names. */
function ofPtRegs(name: string): number | undefined {
  const long = /^(ip|flags|sp|bp|bx|ax|cx|dx|si|di)$/.test(name) ? `r${name}` : name;
  return REG[long as RegName];
}

export const CHECKED_REGISTERS: CheckedRegisters = {
  general: 16,
  sp: named('rsp'),
  fp: named('rbp'),
  pc: REG.rip,
  flags: REG.rflags,
  // Interrupts and traps off.
  flagsAtEntry: RFLAGS.FIXED,
  calleeSaved: CALLEE_SAVED.map(named),
  callerSaved: CALLER_SAVED.map(named),
  ofPtRegs: PT_REGS_NAMES.map(ofPtRegs),
  kernelMode: SELECTOR.KERNEL_CS,
};
