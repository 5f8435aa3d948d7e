// Which address an instruction that caused a general protection fault was about.
// Mirrors get_kernel_gp_address() of arch/x86/kernel/traps.c and insn_get_addr_ref() of arch/x86/lib/insn-eval.c.

import { decodeAt, Insn, NO_INDEX, REX_W } from '../isa/decoder.ts';
import { type PtRegs, type PtRegsName, ptReg } from '../unwind/ports.ts';

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
  const ip = ptReg(regs, 'ip');
  const bytes = readCode(ip, MAX_INSN_SIZE);
  if (bytes === undefined) return '';
  const insn = decodeAt(bytes, 0, 0, new Insn());
  const addr = insn.length > 0 && insn.hasModrm ? addressOf(insn, bytes, regs) : undefined;
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

function addressOf(insn: Insn, bytes: Uint8Array, regs: PtRegs): bigint | undefined {
  const value = (number: number): bigint => ptReg(regs, BY_NUMBER[number]);
  if (insn.mod === 3) return value(insn.rm);
  if (insn.segment === 0x64 || insn.segment === 0x65) return undefined;
  let addr = BigInt(insn.disp);
  if (insn.ripRelative) addr += ptReg(regs, 'ip') + BigInt(insn.length);
  else if (!insn.hasSib) addr += value(insn.rm);
  else {
    const noBase = (insn.sibBase & 7) === 5 && insn.mod === 0;
    if (!noBase) addr += value(insn.sibBase);
    if (insn.sibIndex !== NO_INDEX) addr += value(insn.sibIndex) << BigInt(sibScale(insn, bytes));
  }
  return BigInt.asUintN(64, addr);
}

/** The SIB byte follows modrm; it is the one before the displacement and the immediate. */
function sibScale(insn: Insn, bytes: Uint8Array): number {
  const noBase = (insn.sibBase & 7) === 5 && insn.mod === 0;
  const dispSize = insn.mod === 1 ? 1 : insn.mod === 2 || noBase ? 4 : 0;
  return bytes[insn.length - insn.immSize - dispSize - 1] >> 6;
}
