// The registers of x86-64 as gdb numbers them, and which of them a CPU and a task that is switched out have.
// Names and order are those of gdb's features org.gnu.gdb.i386.core, .segments, .sse and .avx.
//
// Invariant: what is not known is said to be unavailable; no register is made up.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext } from '../../../guest/engine.ts';
import type { GuestMemory } from '../../../guest/memory.ts';
import type { DebugRegister, RegisterValues } from '../../debug.ts';
import { REG, type RegName } from '../context.ts';
import { FS_BASE, REGS } from '../core/layout.ts';
import { CoreContext } from '../engine/core_context.ts';
import { SELECTOR } from '../gdt.ts';
import {
  INACTIVE_FRAME_BP,
  INACTIVE_FRAME_BX,
  INACTIVE_FRAME_R12,
  INACTIVE_FRAME_RET_ADDR,
  INACTIVE_FRAME_SIZE,
} from '../inactive_frame.ts';
import { AVX_REGISTERS, readVector, SSE_REGISTERS, writeVector } from './vectors.ts';

const GENERAL: readonly RegName[] = [
  ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip'] as const),
];
const SELECTORS = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'];
const X87_CONTROL = ['fctrl', 'fstat', 'ftag', 'fiseg', 'fioff', 'foseg', 'fooff', 'fop'];

const named = (names: readonly string[], bytes: number): DebugRegister[] =>
  names.map((name) => ({ name, bytes }));

export const REGISTERS: readonly DebugRegister[] = [
  ...named(GENERAL, 8),
  ...named(['eflags', ...SELECTORS], 4),
  ...named(
    Array.from({ length: 8 }, (_, i) => `st${i}`),
    10,
  ),
  ...named(X87_CONTROL, 4),
  ...named(['fs_base', 'gs_base'], 8),
  ...SSE_REGISTERS,
  ...AVX_REGISTERS,
];

export const numberOf = (name: string): number => REGISTERS.findIndex((register) => register.name === name);

const EFLAGS = numberOf('eflags');
const [CS, SS] = [numberOf('cs'), numberOf('ss')];
const [FS, GS] = [numberOf('fs_base'), numberOf('gs_base')];

/** Of a CPU. */
export function ofContext(context: CpuContext): RegisterValues {
  const values: (bigint | undefined)[] = REGISTERS.map(() => undefined);
  GENERAL.forEach((name, i) => {
    values[i] = context.regs[REG[name]];
  });
  values[EFLAGS] = BigInt.asUintN(32, context.regs[REG.rflags]);
  const { userMode } = context;
  values[CS] = BigInt(userMode ? SELECTOR.USER_CS : SELECTOR.KERNEL_CS);
  values[SS] = BigInt(userMode ? SELECTOR.USER_DS : SELECTOR.KERNEL_DS);
  // In 64-bit mode these are of no account, and the kernel keeps them 0.
  for (const name of ['ds', 'es', 'fs', 'gs']) values[numberOf(name)] = 0n;
  values[GS] = context.perCpuBase;
  if (!(context instanceof CoreContext)) return values;
  values[FS] = context.cell(FS_BASE - REGS);
  REGISTERS.forEach(({ name }, i) => {
    values[i] ??= readVector(context, name);
  });
  return values;
}

/** As it will be when it is switched to and __switch_to_asm() has returned. */
export function ofInactive(mem: GuestMemory, sp: Addr): RegisterValues {
  const values: (bigint | undefined)[] = REGISTERS.map(() => undefined);
  if (!mem.isMapped(sp, INACTIVE_FRAME_SIZE)) return values;
  const word = (offset: number): bigint => mem.readU64(sp + BigInt(offset));
  ['r12', 'r13', 'r14', 'r15'].forEach((name, i) => {
    values[numberOf(name)] = word(INACTIVE_FRAME_R12 - 8 * i);
  });
  values[numberOf('rbx')] = word(INACTIVE_FRAME_BX);
  values[numberOf('rbp')] = word(INACTIVE_FRAME_BP);
  values[numberOf('rip')] = word(INACTIVE_FRAME_RET_ADDR);
  values[numberOf('rsp')] = sp + BigInt(INACTIVE_FRAME_SIZE);
  values[CS] = BigInt(SELECTOR.KERNEL_CS);
  values[SS] = BigInt(SELECTOR.KERNEL_DS);
  return values;
}

export function setInContext(context: CpuContext, register: number, value: bigint): boolean {
  const name = GENERAL[register];
  if (name) context.regs[REG[name]] = BigInt.asUintN(64, value);
  else if (register === GS) context.perCpuBase = BigInt.asUintN(64, value);
  else if (register === FS && context instanceof CoreContext) context.setCell(FS_BASE - REGS, value);
  else if (register === EFLAGS)
    context.regs[REG.rflags] = (context.regs[REG.rflags] & ~FLAGS_SET) | (value & FLAGS_SET);
  else if (!(context instanceof CoreContext) || !writeVector(context, REGISTERS[register].name, value))
    return false;
  context.touch();
  return true;
}

/** CF, PF, AF, ZF, SF, TF excepted, IF, DF, OF: what a debugger may change of RFLAGS. */
const FLAGS_SET = 0xed5n & ~0x100n;
