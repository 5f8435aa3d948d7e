// Which address an instruction that caused a general protection fault was about.
// Mirrors get_kernel_gp_address() of arch/x86/kernel/traps.c.

import { decodeAt, Insn, REX_W } from '../../../isa/decoder.ts';
import { operandAddress } from '../../../isa/operand.ts';
import type { PtRegs } from '../../unwinders.ts';
import { type PtRegsName, ptRegValue } from '../pt_regs.ts';

const MAX_INSN_SIZE = 15;
/** Registers by their number in an instruction. */
const BY_NUMBER: readonly PtRegsName[] = [
  'ax',
  'cx',
  'dx',
  'bx',
  'sp',
  'bp',
  'si',
  'di',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
const VIRTUAL_MASK = 0x7fff_ffff_ffffn;

/** What the kernel adds to `general protection fault`; nothing when it cannot tell. */
export function gpHint(
  regs: PtRegs,
  readCode: (addr: bigint, size: number) => Uint8Array | undefined,
): string {
  const ip = ptRegValue(regs, 'ip');
  const bytes = readCode(ip, MAX_INSN_SIZE);
  if (bytes === undefined) return '';
  const insn = decodeAt(bytes, 0, 0, new Insn());
  const addr = insn.length > 0 && insn.hasModrm ? addressOf(insn, regs) : undefined;
  if (addr === undefined) return '';
  const last = addr + BigInt(operandBytes(insn) - 1);
  const nonCanonical = addr < BigInt.asUintN(64, ~VIRTUAL_MASK) && last > VIRTUAL_MASK;
  const hint = nonCanonical ? 'probably for non-canonical address' : 'maybe for address';
  return `, ${hint} 0x${addr.toString(16)}`;
}

function operandBytes(insn: Insn): number {
  if (insn.rex & REX_W) return 8;
  return insn.opsize16 ? 2 : 4;
}

function addressOf(insn: Insn, regs: PtRegs): bigint | undefined {
  const value = (number: number): bigint => ptRegValue(regs, BY_NUMBER[number]);
  if (insn.mod === 3) return value(insn.rm);
  if (insn.segment === 0x64 || insn.segment === 0x65) return undefined;
  return operandAddress(insn, ptRegValue(regs, 'ip'), value);
}
