// The debug registers of a CPU. Mirrors the Intel SDM vol. 3B chapter 18.2, as far as reading and writing goes.
//
// Invariant: they hold what was written, and no breakpoint in them is ever hit: the engine has none.

import type { CpuContext } from '../../../guest/engine.ts';
import { type Insn, WRITES, WRITES_MASK } from '../../../isa/decoder.ts';
import { REG } from '../context.ts';

const [DR6, DR7] = [6, 7];
/** Bits that are always set, and those that can be. */
const FIXED: Readonly<Record<number, readonly [bigint, bigint]>> = {
  [DR6]: [0xffff0ff0n, 0xfffff7ffn],
  [DR7]: [0x400n, 0xffff2fffn],
};

export class DebugRegisters {
  readonly #values = [0n, 0n, 0n, 0n, 0n, 0n, FIXED[DR6][0], FIXED[DR7][0]];

  /** mov to or from one, decoded. @returns false for a general protection fault. */
  move(context: CpuContext, insn: Insn): boolean {
    const { regs } = context;
    // cr4.de is clear: 4 and 5 are names of 6 and 7.
    const number = insn.reg === 4 || insn.reg === 5 ? insn.reg + 2 : insn.reg;
    if ((insn.facts & WRITES_MASK) === WRITES.REG) {
      const value = regs[insn.rm];
      if (number in FIXED && value >> 32n !== 0n) return false;
      const [set, possible] = FIXED[number] ?? [0n, 0xffff_ffff_ffff_ffffn];
      this.#values[number] = (value & possible) | set;
    } else regs[insn.rm] = this.#values[number];
    regs[REG.rip] += BigInt(insn.length);
    context.touch();
    return true;
  }
}
