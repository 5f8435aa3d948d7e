// Model-specific and control registers of the processor that the core is: which there are, and what they hold.
// Intel SDM volume 4; arch/x86/include/asm/msr-index.h for the names.
//
// Nothing but segment bases, the address space and the time depends on what is written to them: paging, system calls and features are what
// the machine makes them. One that is not here is a #GP, as on hardware.

import { CR4 } from '../control_registers.ts';
import { CR2, CR3, FS_BASE, GS_BASE, KERNEL_GS_BASE, REGS } from '../core/layout.ts';

export interface Register {
  readonly name: string;
  /** What it reads as until something is written. */
  readonly value: bigint;
  /** It is a cell of the context: offset from the context's beginning. */
  readonly cell?: number;
  /** Bits that a write may change; others are a #GP. Without it the register can be written whole. */
  readonly writable?: bigint;
}

const cell = (name: string, at: number): Register => ({ name, value: 0n, cell: at - REGS });
const fixed = (name: string, value: bigint): Register => ({ name, value, writable: 0n });
const kept = (name: string, value = 0n): Register => ({ name, value });

/** By number. */
export const MSRS: Readonly<Record<number, Register>> = {
  27: fixed('IA32_APICBASE', 0xfee00900n),
  58: fixed('IA32_FEAT_CTL', 1n),
  72: kept('IA32_SPEC_CTRL'),
  73: kept('IA32_PRED_CMD'),
  139: kept('IA32_UCODE_REV'),
  254: fixed('MTRRcap', 0x500n),
  266: fixed('IA32_ARCH_CAPABILITIES', 0n),
  372: kept('IA32_SYSENTER_CS'),
  373: kept('IA32_SYSENTER_ESP'),
  374: kept('IA32_SYSENTER_EIP'),
  416: kept('IA32_MISC_ENABLE', 1n),
  631: kept('IA32_CR_PAT', 0x0407050600070106n),
  767: kept('MTRRdefType', 0xc00n),
  1760: kept('IA32_TSC_DEADLINE'),
  3221225600: kept('EFER', 0xd01n), // SCE LME LMA NX
  3221225601: kept('STAR'),
  3221225602: kept('LSTAR'),
  3221225603: kept('CSTAR'),
  3221225604: kept('SYSCALL_MASK'),
  3221225728: cell('FS_BASE', FS_BASE),
  3221225729: cell('GS_BASE', GS_BASE),
  3221225730: cell('KERNEL_GS_BASE', KERNEL_GS_BASE),
  3221225731: kept('TSC_AUX'),
};
export const MSR_TSC = 0x10;

/** CR0 to CR8; CR1 and CR5 to CR7 are undefined instructions. */
export const CONTROL: Readonly<Record<number, Register>> = {
  0: kept('CR0', 0x80050033n),
  2: cell('CR2', CR2),
  3: cell('CR3', CR3),
  4: kept('CR4', BigInt(CR4.PLAIN)),
  8: { name: 'CR8', value: 0n, writable: 0xfn },
};

/** What was written to those that are no cells. */
export type Written = Map<Register, bigint>;
