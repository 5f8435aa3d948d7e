// Where a branch leads to whose target is in a register or in memory: found before the engine takes it, and looked at.
//
// Of most blocks that is known before they begin: they pop, move registers and return. Of others what comes before the
// branch is executed first.

import { REG } from '../../arch/x86_64/context.ts';
import type { Addr } from '../../guest/addr.ts';
import type { CpuContext, Engine, Stop } from '../../guest/engine.ts';
import type { GuestMemory } from '../../guest/memory.ts';
import {
  decodeAt,
  FLOW_CALL_INDIRECT,
  FLOW_FAR,
  FLOW_IRET,
  FLOW_JMP_INDIRECT,
  FLOW_RET,
  FLOW_SYSRET,
  Insn,
  REX_B,
  REX_W,
} from '../../isa/decoder.ts';
import { operandAddress } from '../../isa/operand.ts';
import type { TextGuard } from './text_guard.ts';

const INDIRECT = new Set([FLOW_CALL_INDIRECT, FLOW_JMP_INDIRECT, FLOW_RET, FLOW_IRET, FLOW_FAR, FLOW_SYSRET]);
/** The longest instruction the CPU takes. */
const MAX_LENGTH = 15;
const GS = 0x65;
const RSP = 4;
const FAR_RETURNS = new Set([0xca, 0xcb]);
/** Write a register alone: mov, movzx, lea, and the arithmetic whose destination is the modrm register. */
const TO_REG = new Set([0x8b, 0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf, 0x63, 0x8d, 0x03, 0x0b, 0x23, 0x2b, 0x33]);
/** Write their modrm operand, which here is to be a register: mov and arithmetic. */
const TO_RM = new Set([
  0x89, 0xc7, 0x01, 0x09, 0x21, 0x29, 0x31, 0x83, 0x81, 0xd1, 0xc1, 0x0f92, 0x0f94, 0x0f95,
]);
/** Write flags alone, or nothing. */
const NOTHING = new Set([0x85, 0x84, 0x39, 0x3b, 0x38, 0x3a, 0x0f1f, 0x90]);
const [PUSH, POP, MOV_IMM] = [0x50, 0x58, 0xb8];

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
  const { opcode, rex } = decodeAt(bytes, offset, 0, probe);
  const returns = flow === FLOW_RET || flow === FLOW_IRET || FAR_RETURNS.has(opcode);
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
  const { opcode, rex, reg, rm, mod, hasModrm, imm, opsize16, vex } = insn;
  if (vex || opsize16) return undefined;
  const isRsp = (opcode & 7) === RSP && (rex & REX_B) === 0;
  if ((opcode & ~7) === POP) return isRsp ? undefined : 8;
  if ((opcode & ~7) === PUSH) return trusted ? -8 : undefined;
  if ((opcode & ~7) === MOV_IMM) return isRsp ? undefined : 0;
  if (NOTHING.has(opcode)) return 0;
  if (!hasModrm) return undefined;
  if (TO_REG.has(opcode)) return reg === RSP ? undefined : 0;
  if (!TO_RM.has(opcode)) return undefined;
  if (mod !== 3) return trusted ? 0 : undefined;
  if (rm !== RSP) return 0;
  const isAdd = (opcode === 0x83 || opcode === 0x81) && reg === 0 && (rex & REX_W) !== 0;
  return isAdd ? imm : undefined;
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
