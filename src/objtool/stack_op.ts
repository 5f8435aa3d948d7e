// What an instruction does to the stack pointer, the frame pointer and saved registers.
// Mirrors arch_decode_instruction() of tools/objtool/arch/x86/decode.c.
//
// Invariant: an operation is two numbers, its code (what, from which register, to which) and
// an offset; code 0 is no operation. `leave`, which is two, has a code of its own.

import { BYTE, FLOW_CALL, type Insn, NO_INDEX, REX_W, STACK, STACK_MASK } from '../isa/decoder.ts';
import { BP, SP } from './cfi.ts';

/** mov from, to */
export const OP_MOVE = 1;
/** lea offset(from), to; add and sub of a constant, from and to being the same. */
export const OP_ADD = 2;
export const OP_AND = 3;
export const OP_POP = 4;
/** To memory, or flags, or a segment register. */
export const OP_POP_OTHER = 5;
export const OP_PUSH = 6;
export const OP_PUSH_OTHER = 7;
/** mov offset(from), to */
export const OP_LOAD = 8;
/** mov from, offset(to) */
export const OP_STORE = 9;
export const OP_LEAVE = 10;

export const opCode = (op: number, from: number, to: number): number => op | (from << 8) | (to << 16);
export const opKind = (code: number): number => code & 0xff;
export const opFrom = (code: number): number => (code >>> 8) & 0xff;
export const opTo = (code: number): number => code >>> 16;

/** A call is a push, until it is known that the callee takes it off again. */
export const CALL_OP = OP_PUSH_OTHER;
/** The five words that iret takes. */
export const IRET_OP = opCode(OP_ADD, SP, SP);
export const IRET_OFFSET = 40;

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
