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
export const MSRS: ReadonlyMap<number, Register> = new Map([
  [0x1b, fixed('IA32_APICBASE', 0xfee00900n)],
  [0x3a, fixed('IA32_FEAT_CTL', 1n)],
  [0x48, kept('IA32_SPEC_CTRL')],
  [0x49, kept('IA32_PRED_CMD')],
  [0x8b, kept('IA32_UCODE_REV')],
  [0xfe, fixed('MTRRcap', 0x500n)],
  [0x10a, fixed('IA32_ARCH_CAPABILITIES', 0n)],
  [0x174, kept('IA32_SYSENTER_CS')],
  [0x175, kept('IA32_SYSENTER_ESP')],
  [0x176, kept('IA32_SYSENTER_EIP')],
  [0x1a0, kept('IA32_MISC_ENABLE', 1n)],
  [0x277, kept('IA32_CR_PAT', 0x0407050600070106n)],
  [0x2ff, kept('MTRRdefType', 0xc00n)],
  [0x6e0, kept('IA32_TSC_DEADLINE')],
  [0xc0000080, kept('EFER', 0xd01n)], // SCE LME LMA NX
  [0xc0000081, kept('STAR')],
  [0xc0000082, kept('LSTAR')],
  [0xc0000083, kept('CSTAR')],
  [0xc0000084, kept('SYSCALL_MASK')],
  [0xc0000100, cell('FS_BASE', FS_BASE)],
  [0xc0000101, cell('GS_BASE', GS_BASE)],
  [0xc0000102, cell('KERNEL_GS_BASE', KERNEL_GS_BASE)],
  [0xc0000103, kept('TSC_AUX')],
]);
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
