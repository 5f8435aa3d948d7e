// Where a branch leads to whose target is in a register or in memory: found before the engine takes it, and looked at.
//
// Of most blocks that is known before they begin: they pop, move registers and return. Of others what comes before the
// branch is executed first.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext, Engine, Stop } from '../../../guest/engine.ts';
import type { GuestMemory } from '../../../guest/memory.ts';
import {
  BYTE,
  decodeAt,
  FLOW_CALL_INDIRECT,
  FLOW_FAR,
  FLOW_IRET,
  FLOW_JMP_INDIRECT,
  FLOW_RET,
  FLOW_SYSRET,
  Insn,
  MAX_LENGTH,
  REX_B,
  REX_W,
  STACK,
  STACK_MASK,
  WRITES,
  WRITES_MASK,
} from '../../../isa/decoder.ts';
import { operandAddress } from '../../../isa/operand.ts';
import { REG } from '../context.ts';
import type { TextGuard } from './text_guard.ts';

const INDIRECT = new Set([FLOW_CALL_INDIRECT, FLOW_JMP_INDIRECT, FLOW_RET, FLOW_IRET, FLOW_FAR, FLOW_SYSRET]);
const GS = 0x65;
const RSP = 4;
/** How a block ends whose last instruction is an indirect branch. */
export interface IndirectEnd {
  /** Bytes before the branch. */
  readonly offset: number;
  /** The target is on the stack, with so many bytes; 0: it is elsewhere. */
  readonly onStack: 0 | 4 | 8;
  /** What it adds to rsp before the branch, where the target is known before it begins; else undefined. */
  readonly popped: number | undefined;
}

const probe = new Insn();

/**
 * @param trusted the guest kernel's own code: it does not write to where its return address lies.
 * @returns undefined for a block that ends otherwise.
 */
export function indirectEnd(
  bytes: Uint8Array,
  flow: number,
  offset: number,
  trusted: boolean,
): IndirectEnd | undefined {
  if (!INDIRECT.has(flow)) return undefined;
  const { facts, rex } = decodeAt(bytes, offset, 0, probe);
  const stack = facts & STACK_MASK;
  const returns = stack === STACK.RET || stack === STACK.IRET;
  if (!returns) return { offset, onStack: 0, popped: offset === 0 ? 0 : undefined };
  const onStack = flow === FLOW_RET || (rex & REX_W) !== 0 ? 8 : 4;
  return { offset, onStack, popped: poppedBefore(bytes, offset, trusted) };
}

function poppedBefore(bytes: Uint8Array, offset: number, trusted: boolean): number | undefined {
  let popped = 0;
  for (let at = 0; at < offset; at += probe.length) {
    const more = poppedBy(decodeAt(bytes, at, 0, probe), trusted);
    if (more === undefined) return undefined;
    popped += more;
  }
  return popped;
}

/** What an instruction adds to rsp; undefined for one that may write memory, or rsp in another way. */
function poppedBy(insn: Insn, trusted: boolean): number | undefined {
  const { facts, opcode, rex, reg, rm, mod, imm, opsize16, vex } = insn;
  if (vex || opsize16) return undefined;
  const intoRsp = (opcode & 7) === RSP && (rex & REX_B) === 0;
  const stack = facts & STACK_MASK;
  if (stack === STACK.POP_REG) return intoRsp ? undefined : 8;
  if (stack === STACK.PUSH_REG) return trusted ? -8 : undefined;
  switch (facts & WRITES_MASK) {
    case WRITES.NONE:
      return stack === STACK.NONE ? 0 : undefined;
    case WRITES.OPCODE:
      return intoRsp ? undefined : 0;
    case WRITES.REG:
      return reg === RSP ? undefined : 0;
    case WRITES.RM:
      if (mod !== 3) return trusted ? 0 : undefined;
      if (rm !== RSP) return 0;
      return stack === STACK.ADD_IMM && (facts & BYTE) === 0 && (rex & REX_W) !== 0 ? imm : undefined;
    default:
      return undefined;
  }
}

export class IndirectBranches {
  readonly #engine: Engine;
  readonly #mem: GuestMemory;
  readonly #guard: TextGuard;

  constructor(engine: Engine, mem: GuestMemory, guard: TextGuard) {
    this.#engine = engine;
    this.#mem = mem;
    this.#guard = guard;
  }

  /** Executes a block of so many instructions from where the context is. */
  run(context: CpuContext, instructions: number, end: IndirectEnd): Stop {
    if (end.popped !== undefined) {
      this.#look(context, end, end.popped, 0);
      return this.#engine.run(context, instructions);
    }
    const before = instructions - 1;
    const branch = context.regs[REG.rip] + BigInt(end.offset);
    const stop = this.#engine.run(context, before);
    if (stop.kind !== 'budget' || context.regs[REG.rip] !== branch) return stop;
    this.#look(context, end, 0, end.offset);
    const last = this.#engine.run(context, 1);
    last.executed += before;
    return last;
  }

  /** At where the branch leads to. What cannot be read the engine cannot read either. */
  #look(context: CpuContext, { onStack, offset }: IndirectEnd, popped: number, done: number): void {
    const { regs } = context;
    if (onStack === 0) {
      const target = this.#target(context, regs[REG.rip] + BigInt(offset - done));
      if (target !== undefined) this.#guard.look(target);
      return;
    }
    const at = regs[REG.rsp] + BigInt(popped);
    if (!this.#mem.isMapped(at, onStack)) return;
    this.#guard.look(onStack === 8 ? this.#mem.readU64(at) : BigInt(this.#mem.readU32(at)));
  }

  #target({ regs, perCpuBase }: CpuContext, branch: Addr): Addr | undefined {
    let size = MAX_LENGTH;
    while (size > 0 && !this.#mem.isMapped(branch, size)) size--;
    if (size === 0) return undefined;
    const insn = decodeAt(this.#mem.view(branch, size), 0, 0, probe);
    if (insn.flow === FLOW_SYSRET) return regs[REG.rcx];
    const near = insn.flow !== FLOW_FAR;
    if (near && insn.mod === 3) return regs[insn.rm];
    const base = insn.segment === GS ? perCpuBase : 0n;
    const at = BigInt.asUintN(64, base + operandAddress(insn, branch, (n) => regs[n]));
    if (!this.#mem.isMapped(at, 8)) return undefined;
    return near || insn.rex & REX_W ? this.#mem.readU64(at) : BigInt(this.#mem.readU32(at));
  }
}
