// Where an instruction's memory operand lies, without its segment's base.
// Mirrors insn_get_addr_ref() of arch/x86/lib/insn-eval.c.

import { type Insn, NO_INDEX } from './decoder.ts';

/**
 * @param ip address of the instruction.
 * @param value of a general register, by its number in an instruction.
 */
export function operandAddress(insn: Insn, ip: bigint, value: (register: number) => bigint): bigint {
  let addr = BigInt(insn.disp);
  if (insn.ripRelative) addr += ip + BigInt(insn.length);
  else if (!insn.hasSib) addr += value(insn.rm);
  else {
    const noBase = (insn.sibBase & 7) === 5 && insn.mod === 0;
    if (!noBase) addr += value(insn.sibBase);
    if (insn.sibIndex !== NO_INDEX) addr += value(insn.sibIndex) << BigInt(insn.sibScale);
  }
  return BigInt.asUintN(64, addr);
}
