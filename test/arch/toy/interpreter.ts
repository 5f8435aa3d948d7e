// Executes the made-up architecture's instructions, one after the other, over guest memory.

import type { GuestMemory } from '../../../src/guest/memory.ts';
import { decode, INSN_SIZE, type Insn, R, STATUS_IRQ, STATUS_USER } from './isa.ts';

export type ToyStop = 'budget' | 'wait' | 'sys' | 'brk' | 'invalid' | 'fault' | 'refused';

export interface ToyRun {
  readonly why: ToyStop;
  /** Instructions completed. `wait`, `sys` and `brk` count; pc is behind them. */
  readonly executed: number;
  /** fault: the address, and whether it was read, written or fetched. */
  readonly faultAddr: bigint;
  readonly access: 'read' | 'write' | 'fetch';
}

const U64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** At most `max` instructions from registers' pc on, and none at an address that is refused. */
export function interpret(
  regs: BigUint64Array,
  mem: GuestMemory,
  max: number,
  refused: ReadonlySet<bigint>,
): ToyRun {
  for (let executed = 0; executed < max; executed++) {
    const pc = regs[R.pc];
    if (refused.has(pc)) return { why: 'refused', executed, faultAddr: 0n, access: 'fetch' };
    if (!mem.isMapped(pc, INSN_SIZE)) return fault(executed, pc, 'fetch');
    const insn = decode(mem.view(pc, INSN_SIZE));
    if (!insn) return { why: 'invalid', executed, faultAddr: 0n, access: 'fetch' };
    const user = (Number(regs[R.status]) & STATUS_USER) !== 0;
    if (user && (insn.op === 'wait' || insn.op === 'irq' || insn.op === 'iret'))
      return { why: 'invalid', executed, faultAddr: 0n, access: 'fetch' };
    const touched = memoryOf(insn, regs);
    if (touched && !mem.isMapped(touched.at, touched.size))
      return fault(executed, touched.at, insn.op === 'ld' ? 'read' : 'write');
    regs[R.pc] = U64(pc + BigInt(INSN_SIZE));
    step(insn, regs, mem);
    regs[R.zero] = 0n;
    if (insn.op === 'wait' || insn.op === 'sys' || insn.op === 'brk')
      return { why: insn.op, executed: executed + 1, faultAddr: 0n, access: 'fetch' };
  }
  return { why: 'budget', executed: max, faultAddr: 0n, access: 'fetch' };
}

const fault = (executed: number, faultAddr: bigint, access: ToyRun['access']): ToyRun => ({
  why: 'fault',
  executed,
  faultAddr,
  access,
});

function memoryOf(insn: Insn, regs: BigUint64Array): { at: bigint; size: number } | undefined {
  if (insn.op === 'iret') return { at: regs[R.sp], size: 24 };
  if (insn.op !== 'ld' && insn.op !== 'st' && insn.op !== 'clr') return undefined;
  return { at: U64(regs[insn.b] + BigInt(insn.imm)), size: insn.op === 'clr' ? 8 : insn.c };
}

function step({ op, a, b, c, imm }: Insn, regs: BigUint64Array, mem: GuestMemory): void {
  const at = U64(regs[b] + BigInt(imm));
  switch (op) {
    case 'li':
      regs[a] = U64(BigInt(imm));
      return;
    case 'hi':
      regs[a] = (regs[a] & 0xffff_ffffn) | (BigInt(imm >>> 0) << 32n);
      return;
    case 'add':
      regs[a] = U64(regs[b] + regs[c] + BigInt(imm));
      return;
    case 'sub':
      regs[a] = U64(regs[b] - regs[c] - BigInt(imm));
      return;
    case 'and':
      regs[a] = regs[b] & (regs[c] | BigInt(imm >>> 0));
      return;
    case 'ld':
      regs[a] = LOAD[c](mem, at);
      return;
    case 'st':
      STORE[c](mem, at, regs[a]);
      return;
    case 'clr':
      regs[a] = mem.readU64(at);
      mem.writeU64(at, regs[a] & ~regs[c]);
      return;
    case 'beq':
    case 'bne':
      if ((regs[a] === regs[b]) === (op === 'beq')) regs[R.pc] = U64(regs[R.pc] + BigInt(imm));
      return;
    case 'bl': {
      const next = regs[R.pc];
      regs[R.pc] = U64(next + BigInt(imm));
      regs[a] = next;
      return;
    }
    case 'br': {
      const [next, to] = [regs[R.pc], regs[b]];
      regs[a] = next;
      regs[R.pc] = to;
      return;
    }
    case 'irq':
      regs[R.status] = imm === 0 ? regs[R.status] & ~BigInt(STATUS_IRQ) : regs[R.status] | BigInt(STATUS_IRQ);
      return;
    case 'iret': {
      const from = regs[R.sp];
      [regs[R.pc], regs[R.status], regs[R.sp]] = [0n, 8n, 16n].map((offset) => mem.readU64(from + offset));
      return;
    }
  }
}

const LOAD: Readonly<Record<number, (mem: GuestMemory, at: bigint) => bigint>> = {
  1: (mem, at) => BigInt(mem.readU8(at)),
  2: (mem, at) => BigInt(mem.readU16(at)),
  4: (mem, at) => BigInt(mem.readU32(at)),
  8: (mem, at) => mem.readU64(at),
};
const STORE: Readonly<Record<number, (mem: GuestMemory, at: bigint, value: bigint) => void>> = {
  1: (mem, at, value) => mem.writeU8(at, Number(value & 0xffn)),
  2: (mem, at, value) => mem.writeU16(at, Number(value & 0xffffn)),
  4: (mem, at, value) => mem.writeU32(at, Number(value & 0xffff_ffffn)),
  8: (mem, at, value) => mem.writeU64(at, value),
};
