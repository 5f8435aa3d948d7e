// Instructions that leave the stack, its pointer and the frame pointer as they are, whatever is in the registers.
//
// Invariant: of an instruction that is said to be plain that is true; of many that are not, too.

import {
  DIVIDES,
  FLOW_NEXT,
  type Insn,
  MACHINE,
  REX_B,
  STACK,
  STACK_MASK,
  STRING,
  WRITES,
  WRITES_MASK,
} from '../../../isa/decoder.ts';
import { REG } from '../context.ts';

/** From here on what an opcode does to the stack pointer it does by its operands. */
const BY_OPERAND = STACK.ADD_IMM;

const isOfFrame = (register: number): boolean => register === REG.rsp || register === REG.rbp;

export function isPlain(insn: Insn): boolean {
  const { facts, opcode, mod, ripRelative } = insn;
  // What stands behind 0F38 and 0F3A, or VEX, the table says nothing of.
  if (opcode === 0 || opcode > 0x0fff || insn.vex || insn.flow !== FLOW_NEXT) return false;
  if (facts & (STRING | MACHINE | DIVIDES)) return false;
  const stack = facts & STACK_MASK;
  if (stack !== STACK.NONE && stack < BY_OPERAND) return false;
  switch (facts & WRITES_MASK) {
    case WRITES.NONE:
      return true;
    case WRITES.OPCODE:
      return !isOfFrame((opcode & 7) | ((insn.rex & REX_B) << 3));
    case WRITES.REG:
      return !isOfFrame(insn.reg);
    case WRITES.RM:
      return mod === 3 ? !isOfFrame(insn.rm) : ripRelative;
    case WRITES.BOTH:
      return mod === 3 ? !isOfFrame(insn.rm) && !isOfFrame(insn.reg) : ripRelative && !isOfFrame(insn.reg);
    default:
      return false;
  }
}
