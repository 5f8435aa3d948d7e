// Mirrors __die_header() and show_iret_regs() of arch/x86/kernel/dumpstack.c, and __show_regs() of arch/x86/kernel/process_64.c.

import type { ReadRegister, ShowRegs, SystemState, WhereLines } from '../show_regs.ts';
import { CR4 } from './control_registers.ts';
import { PT_REGS, type PtRegsName } from './pt_regs.ts';

/** Registers of the CPU that are not in pt_regs. */
interface SystemRegs {
  readonly fs: bigint;
  readonly fsSel: number;
  readonly gsSel: number;
  readonly kernelGs: bigint;
  readonly ds: number;
  readonly es: number;
  readonly cr0: bigint;
}

/** As the machine boots: no thread-local storage. */
const SYSTEM: SystemRegs = {
  fs: 0n,
  fsSel: 0,
  gsSel: 0,
  kernelGs: 0n,
  ds: 0,
  es: 0,
  cr0: 0x80050033n,
};

const isUser = (read: ReadRegister): boolean => PT_REGS.mode.isUser(Number(read('cs') & 0xffffffffn));

function iretLines(read: ReadRegister, where: WhereLines): string[] {
  const userMode = isUser(read);
  const ip = read('ip');
  return [
    `RIP: ${hex4(read('cs'))}:${where.pc(ip, userMode)}`,
    ...where.code(ip, userMode),
    `RSP: ${hex4(read('ss'))}:${hex16(read('sp'))} EFLAGS: ${hex(read('flags'), 8)}`,
  ];
}

function allLines(read: ReadRegister, where: WhereLines): string[] {
  const lines = iretLines(read, where);
  const origAx = read('orig_ax');
  if (origAx !== 0xffffffffffffffffn) lines[lines.length - 1] += ` ORIG_RAX: ${hex16(origAx)}`;
  const row = (...names: [label: string, name: PtRegsName][]): string =>
    names.map(([label, name]) => `${label}: ${hex16(read(name))}`).join(' ');
  lines.push(
    row(['RAX', 'ax'], ['RBX', 'bx'], ['RCX', 'cx']),
    row(['RDX', 'dx'], ['RSI', 'si'], ['RDI', 'di']),
    row(['RBP', 'bp'], ['R08', 'r8'], ['R09', 'r9']),
    row(['R10', 'r10'], ['R11', 'r11'], ['R12', 'r12']),
    row(['R13', 'r13'], ['R14', 'r14'], ['R15', 'r15']),
  );
  return lines;
}

function systemLines(read: ReadRegister, state: SystemState): string[] {
  const { fs, fsSel, gsSel, kernelGs, ds, es, cr0 } = SYSTEM;
  const cr3 = BigInt(state.space) << 12n;
  const cr4 = BigInt(state.protection ? CR4.PROTECTED : CR4.PLAIN);
  if (isUser(read)) return [`FS:  ${hex16(fs)} GS:  ${hex16(kernelGs)}`];
  return [
    `FS:  ${hex16(fs)}(${hex4(fsSel)}) GS:${hex16(state.percpuBase)}(${hex4(gsSel)}) knlGS:${hex16(kernelGs)}`,
    `CS:  ${hex4(read('cs'))} DS: ${hex4(ds)} ES: ${hex4(es)} CR0: ${hex16(cr0)}`,
    `CR2: ${hex16(state.faultAddress)} CR3: ${hex16(cr3)} CR4: ${hex16(cr4)}`,
  ];
}

/** CONFIG_PAGE_TABLE_ISOLATION, on a CPU that needs none: X86_BUG_CPU_MELTDOWN is not set. */
const ISOLATION = 'NOPTI';

export const SHOW_REGS: ShowRegs = {
  dieHeader: (what, error, count, build) =>
    `${what}: ${hex4(error & 0xffff)} [#${count}] ${[...build, ISOLATION].join(' ')}`,
  lines: (read, where, partial) => (partial ? iretLines(read, where) : allLines(read, where)),
  system: systemLines,
  pcIn: (lines) => /^RIP: \w+:(.*)$/m.exec(lines)?.[1],
};

const hex = (value: bigint | number, width: number): string =>
  BigInt.asUintN(64, BigInt(value)).toString(16).padStart(width, '0');
const hex16 = (value: bigint): string => hex(value, 16);
const hex4 = (value: bigint | number): string => hex(BigInt(value) & 0xffffffffn, 4);
