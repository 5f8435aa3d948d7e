// Instructions that leave the stack, its pointer and the frame pointer as they are, whatever is in the registers, or but for
// where they store; and which registers such instructions may write.
//
// Invariant: of an instruction that is said to be plain that is true; of many that are not, too. A register that is written
// is said to be; some that are not, too.

import {
  BYTE,
  DIVIDES,
  FLOW_NEXT,
  type Insn,
  MACHINE,
  NO_INDEX,
  REX_B,
  STACK,
  STACK_MASK,
  STRING,
  WRITES,
  WRITES_MASK,
} from '../../../isa/decoder.ts';
import { OPCODE } from '../../../isa/opcodes.ts';
import { RUN_OTHER, RUN_PLAIN, RUN_STORE } from '../../checking.ts';
import { REG } from '../context.ts';

/** From here on what an opcode does to the stack pointer it does by its operands. */
const BY_OPERAND = STACK.ADD_IMM;

const isOfFrame = (register: number): boolean => register === REG.rsp || register === REG.rbp;

/** See CheckedInsns in src/arch/checking.ts. */
export function runKind(insn: Insn): number {
  const { facts, opcode, mod } = insn;
  // What stands behind 0F38 and 0F3A, or VEX, the table says nothing of.
  if (opcode === 0 || opcode > 0x0fff || insn.vex || insn.flow !== FLOW_NEXT) return RUN_OTHER;
  if (facts & (STRING | MACHINE | DIVIDES)) return RUN_OTHER;
  const stack = facts & STACK_MASK;
  if (stack !== STACK.NONE && stack < BY_OPERAND) return RUN_OTHER;
  switch (facts & WRITES_MASK) {
    case WRITES.NONE:
      return RUN_PLAIN;
    case WRITES.OPCODE:
      return isOfFrame(inOpcode(insn)) ? RUN_OTHER : RUN_PLAIN;
    case WRITES.REG:
      return isOfFrame(insn.reg) ? RUN_OTHER : RUN_PLAIN;
    case WRITES.RM:
      return mod === 3 && isOfFrame(insn.rm) ? RUN_OTHER : kindOfOperand(insn);
    case WRITES.BOTH:
      return isOfFrame(insn.reg) || (mod === 3 && isOfFrame(insn.rm)) ? RUN_OTHER : kindOfOperand(insn);
    default:
      return RUN_OTHER;
  }
}

const kindOfOperand = ({ mod, ripRelative }: Insn): number =>
  mod === 3 || ripRelative ? RUN_PLAIN : RUN_STORE;

const inOpcode = ({ opcode, rex }: Insn): number => (opcode & 7) | ((rex & REX_B) << 3);

/** Multiplication, xchg and cmpxchg write rax as well, or rax and rdx: no name of them is in the instruction. */
const UNNAMED = (1 << REG.rax) | (1 << REG.rdx);
/** A bit for each general register that one which is not RUN_OTHER may write. */
export function writes(insn: Insn): number {
  const { facts, opcode, mod } = insn;
  switch (facts & WRITES_MASK) {
    case WRITES.NONE:
      // What is a no-op is xchg with a register of its own.
      if (opcode === OPCODE.NOP && insn.rex & REX_B) return bitOf(facts, inOpcode(insn)) | UNNAMED;
      return (opcode & ~1) === GROUP_3 ? UNNAMED : 0;
    case WRITES.OPCODE:
      return bitOf(facts, inOpcode(insn)) | UNNAMED;
    case WRITES.REG:
      return bitOf(facts, insn.reg);
    case WRITES.RM:
      return mod === 3 ? bitOf(facts, insn.rm) : 0;
    default:
      return bitOf(facts, insn.reg) | (mod === 3 ? bitOf(facts, insn.rm) : 0) | UNNAMED;
  }
}

/** With ah to bh, which are numbered 4 to 7, the first four are meant. */
const bitOf = (facts: number, register: number): number =>
  facts & BYTE ? (1 << register) | (1 << (register & 3)) : 1 << register;

/** test not neg mul imul div idiv */
const GROUP_3 = 0xf6;
/** With mode 0 this is no register. */
const NO_BASE = 5;

/** The same for those that its operand in memory is addressed by. */
export function addressedBy(insn: Insn): number {
  if (!insn.hasModrm || insn.mod === 3 || insn.ripRelative) return 0;
  const base = insn.hasSib ? insn.sibBase : insn.rm;
  const ofBase = insn.mod === 0 && (base & 7) === NO_BASE ? 0 : 1 << base;
  return insn.hasSib && insn.sibIndex !== NO_INDEX ? ofBase | (1 << insn.sibIndex) : ofBase;
}
