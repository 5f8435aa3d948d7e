// What an instruction does to the stack pointer, the frame pointer and saved registers.
// Mirrors arch_decode_instruction() of tools/objtool/arch/x86/decode.c.
//
// Invariant: `leave`, which is two operations, has a code of its own.

import { BYTE, FLOW_CALL, type Insn, NO_INDEX, REX_W, STACK, STACK_MASK } from '../../../isa/decoder.ts';
import {
  OP_ADD,
  OP_AND,
  OP_LEAVE,
  OP_LOAD,
  OP_MOVE,
  OP_POP,
  OP_POP_OTHER,
  OP_PUSH,
  OP_PUSH_OTHER,
  OP_STORE,
  opCode,
} from '../../code.ts';
import { BP, SP } from './registers.ts';

/** Offset of the operation that stackOp() found last. */
export let stackOpOffset = 0;

/** The register that alone makes up a memory operand's address, or -1. */
function plainBase(insn: Insn): number {
  if (insn.mod === 3 || insn.ripRelative) return -1;
  if (!insn.hasSib) return insn.rm;
  return insn.sibIndex === NO_INDEX ? insn.sibBase : -1;
}

/** mov reg, r/m */
function storeOp(insn: Insn): number {
  const wide = (insn.facts & BYTE) === 0;
  if (wide && insn.mod === 3) {
    return insn.reg === SP || insn.rm === SP ? opCode(OP_MOVE, insn.reg, insn.rm) : 0;
  }
  const base = plainBase(insn);
  stackOpOffset = insn.disp;
  if (wide && insn.reg === SP) return base < 0 ? 0 : opCode(OP_STORE, SP, base);
  return base === BP || base === SP ? opCode(OP_STORE, insn.reg, base) : 0;
}

function loadOp(insn: Insn): number {
  const base = plainBase(insn);
  stackOpOffset = insn.disp;
  return base === BP || base === SP ? opCode(OP_LOAD, base, insn.reg) : 0;
}

function leaOp(insn: Insn): number {
  const base = plainBase(insn);
  stackOpOffset = insn.disp;
  return base < 0 ? 0 : opCode(insn.disp === 0 ? OP_MOVE : OP_ADD, base, insn.reg);
}

/** An operation on the stack pointer itself. */
function onSp(insn: Insn, code: number, offset: number): number {
  if (insn.mod !== 3 || insn.rm !== SP) return 0;
  stackOpOffset = offset;
  return code;
}

/** Of 64 bits alone. */
function wideOp(insn: Insn, stack: number): number {
  switch (stack) {
    case STACK.ADD_REG:
    case STACK.SUB_REG:
      return onSp(insn, opCode(OP_ADD, insn.reg, SP), 0);
    case STACK.ADD_IMM:
      return onSp(insn, opCode(OP_ADD, SP, SP), insn.imm);
    case STACK.SUB_IMM:
      return onSp(insn, opCode(OP_ADD, SP, SP), -insn.imm);
    case STACK.AND_IMM:
      return onSp(insn, opCode(OP_AND, SP, SP), insn.imm);
    case STACK.STORE:
      return storeOp(insn);
    case STACK.LOAD:
      return loadOp(insn);
    case STACK.LEA:
      return leaOp(insn);
    default:
      return 0;
  }
}

/** The code of an instruction's operation, its offset in `stackOpOffset`; most instructions have none. */
export function stackOp(insn: Insn): number {
  stackOpOffset = 0;
  const stack = insn.facts & STACK_MASK;
  if (stack === STACK.NONE) return 0;
  const reg = (insn.opcode & 7) | ((insn.rex & 1) << 3);
  switch (stack) {
    case STACK.PUSH_REG:
      return opCode(OP_PUSH, reg, 0);
    case STACK.POP_REG:
      return opCode(OP_POP, 0, reg);
    case STACK.PUSH:
      return OP_PUSH_OTHER;
    case STACK.POP:
    case STACK.POP_SEGMENT:
    case STACK.POP_RM:
      return OP_POP_OTHER;
    case STACK.CALL:
      return insn.flow === FLOW_CALL ? OP_PUSH_OTHER : 0;
    case STACK.LEAVE:
      return OP_LEAVE;
    default:
      return (insn.rex & REX_W) === 0 ? 0 : wideOp(insn, stack);
  }
}
