// What an instruction may do to rsp and rbp, from its encoding alone.
//
// Invariant: a change that happens is in the answer. More may be: an unknown instruction is taken to change the
// registers that it names.

import { BYTE, type Insn, REX_W, STACK, STACK_MASK, WRITES, WRITES_MASK } from '../../../isa/decoder.ts';
import { CHANGES_FP, CHANGES_SP, ODD, PUSHES_FP, STORES_FP } from '../../checking.ts';
import { REG } from '../context.ts';

const { rsp: RSP, rbp: RBP } = REG;
const named = (register: number): number =>
  register === RSP ? CHANGES_SP : register === RBP ? CHANGES_FP : 0;

/** The register in the opcode's low bits. */
const inOpcode = (insn: Insn): number => (insn.opcode & 7) | ((insn.rex & 1) << 3);

export function effectsOf(insn: Insn): number {
  switch (insn.facts & STACK_MASK) {
    case STACK.PUSH_REG:
      return inOpcode(insn) === RBP ? CHANGES_SP | PUSHES_FP : CHANGES_SP;
    case STACK.POP_REG:
      return inOpcode(insn) === RSP ? ODD : CHANGES_SP | named(inOpcode(insn));
    case STACK.PUSH:
    case STACK.POP:
      return CHANGES_SP;
    case STACK.POP_SEGMENT:
    case STACK.POP_RM:
    case STACK.ENTER:
      return ODD;
    case STACK.LEAVE:
      return CHANGES_SP | CHANGES_FP;
    case STACK.STORE:
      if (insn.mod !== 3 && insn.reg === RBP && (insn.facts & BYTE) === 0) return storeOfBp(insn);
  }
  return written(insn);
}

function written(insn: Insn): number {
  switch (insn.facts & WRITES_MASK) {
    case WRITES.NONE:
      return 0;
    case WRITES.UNKNOWN:
      return ODD;
    case WRITES.OPCODE:
      return named(inOpcode(insn));
    case WRITES.RM:
      return toRm(insn);
    case WRITES.REG:
      return named(insn.reg);
    default:
      return insn.hasModrm ? named(insn.reg) | toRm(insn) : 0;
  }
}

/** What a push, a pop, or an addition of a constant makes of rsp; 0 where that is not what changes it. */
export function stackDelta(insn: Insn): number {
  const { facts } = insn;
  switch (facts & STACK_MASK) {
    case STACK.PUSH_REG:
      return insn.opsize16 ? 0 : -8;
    case STACK.POP_REG:
      return insn.opsize16 || inOpcode(insn) === RSP ? 0 : 8;
    case STACK.ADD_IMM:
      return addsToSp(insn) ? insn.imm : 0;
    case STACK.SUB_IMM:
      return addsToSp(insn) ? -insn.imm : 0;
    default:
      return 0;
  }
}

const addsToSp = ({ facts, mod, rm, rex }: Insn): boolean =>
  mod === 3 && rm === RSP && (rex & REX_W) !== 0 && (facts & BYTE) === 0;

const toRm = (insn: Insn): number => (insn.mod === 3 ? named(insn.rm) : 0);

/** Half of the register, or somewhere else than in the frame: what it leaves is seen when the piece ends. */
function storeOfBp(insn: Insn): number {
  if ((insn.rex & REX_W) === 0) return 0;
  return baseOf(insn) < 0 ? ODD : STORES_FP;
}

/** rsp or rbp where it alone makes up the address, with a constant; -1 otherwise. */
export function baseOf(insn: Insn): number {
  if (insn.ripRelative || insn.mod === 3) return -1;
  const base = insn.hasSib ? insn.sibBase : insn.rm;
  if (insn.hasSib && (insn.sibIndex !== 4 || (insn.mod === 0 && (base & 7) === RBP))) return -1;
  return named(base) !== 0 ? base : -1;
}

/** Whether it has an operand in memory whose place hangs on more than rsp or rbp and a constant. */
export function accessesElsewhere(insn: Insn): boolean {
  return insn.hasModrm && insn.mod !== 3 && !insn.ripRelative && baseOf(insn) < 0;
}
