// What an instruction does to the stack pointer, the frame pointer and saved registers.
// Mirrors arch_decode_instruction() of tools/objtool/arch/x86/decode.c.

import { type Insn, NO_INDEX, REX_W } from '../isa/decoder.ts';
import { BP, SP } from './cfi.ts';

/** Where a value comes from. */
export const FROM_REG = 0;
export const FROM_MEM = 1;
export const FROM_CONST = 2;
export const FROM_POP = 3;
export const FROM_ADD = 4;
export const FROM_AND = 5;

/** Where it goes. */
export const TO_REG = 0;
export const TO_REG_MEM = 1;
export const TO_MEM = 2;
export const TO_PUSH = 3;

export interface StackOp {
  readonly from: number;
  readonly fromReg: number;
  readonly fromOffset: number;
  readonly to: number;
  readonly toReg: number;
  readonly toOffset: number;
}

const op = (
  from: number,
  fromReg: number,
  fromOffset: number,
  to: number,
  toReg = 0,
  toOffset = 0,
): StackOp => ({
  from,
  fromReg,
  fromOffset,
  to,
  toReg,
  toOffset,
});

const NONE: readonly StackOp[] = [];
const PUSH_CONST = [op(FROM_CONST, 0, 0, TO_PUSH)];
const POP_MEM = [op(FROM_POP, 0, 0, TO_MEM)];
const PUSH_REG = Array.from({ length: 16 }, (_, reg) => [op(FROM_REG, reg, 0, TO_PUSH)]);
const POP_REG = Array.from({ length: 16 }, (_, reg) => [op(FROM_POP, 0, 0, TO_REG, reg)]);
const LEAVE = [op(FROM_REG, BP, 0, TO_REG, SP), op(FROM_POP, 0, 0, TO_REG, BP)];
/** A call is a push, until it is known that the callee takes it off again. */
export const CALL_OPS = PUSH_CONST;
export const IRET_OPS: readonly StackOp[] = [op(FROM_ADD, SP, 40, TO_REG, SP)];

/** The register that alone makes up a memory operand's address, or -1. */
function plainBase(insn: Insn): number {
  if (insn.mod === 3 || insn.ripRelative) return -1;
  if (!insn.hasSib) return insn.rm;
  return insn.sibIndex === NO_INDEX ? insn.sibBase : -1;
}

function arithmeticOps(insn: Insn): readonly StackOp[] {
  if (insn.mod !== 3 || insn.rm !== SP) return NONE;
  switch (insn.reg & 7) {
    case 0:
      return [op(FROM_ADD, SP, insn.imm, TO_REG, SP)];
    case 5:
      return [op(FROM_ADD, SP, -insn.imm, TO_REG, SP)];
    case 4:
      return [op(FROM_AND, SP, insn.imm, TO_REG, SP)];
    default:
      return NONE;
  }
}

/** 89: mov reg, r/m. */
function storeOps(insn: Insn): readonly StackOp[] {
  const base = plainBase(insn);
  if (insn.reg === SP && insn.opcode === 0x89) {
    if (insn.mod === 3) return [op(FROM_REG, SP, 0, TO_REG, insn.rm)];
    return base < 0 ? NONE : [op(FROM_REG, SP, 0, TO_REG_MEM, base, insn.disp)];
  }
  if (insn.mod === 3) {
    return insn.rm === SP && insn.opcode === 0x89 ? [op(FROM_REG, insn.reg, 0, TO_REG, SP)] : NONE;
  }
  return base === BP || base === SP ? [op(FROM_REG, insn.reg, 0, TO_REG_MEM, base, insn.disp)] : NONE;
}

/** 8b: mov r/m, reg. */
function loadOps(insn: Insn): readonly StackOp[] {
  const base = plainBase(insn);
  return base === BP || base === SP ? [op(FROM_MEM, base, insn.disp, TO_REG, insn.reg)] : NONE;
}

function leaOps(insn: Insn): readonly StackOp[] {
  const base = plainBase(insn);
  if (base < 0) return NONE;
  return [op(insn.disp === 0 ? FROM_REG : FROM_ADD, base, insn.disp, TO_REG, insn.reg)];
}

/** In order; most instructions have none. */
export function stackOps(insn: Insn): readonly StackOp[] {
  const { opcode } = insn;
  if (insn.vex) return NONE;
  if (opcode >= 0x50 && opcode <= 0x57)
    return PUSH_REG[(opcode & 7) | ((insn.rex & 1) << 3)] as readonly StackOp[];
  if (opcode >= 0x58 && opcode <= 0x5f)
    return POP_REG[(opcode & 7) | ((insn.rex & 1) << 3)] as readonly StackOp[];
  const wide = (insn.rex & REX_W) !== 0;
  switch (opcode) {
    case 0x01:
    case 0x29:
      return wide && insn.mod === 3 && insn.rm === SP ? [op(FROM_ADD, insn.reg, 0, TO_REG, SP)] : NONE;
    case 0x68:
    case 0x6a:
    case 0x9c:
    case 0x0fa0:
    case 0x0fa8:
    case 0xe8:
      return PUSH_CONST;
    case 0x80:
    case 0x81:
    case 0x83:
      return wide ? arithmeticOps(insn) : NONE;
    case 0x88:
    case 0x89:
      return wide ? storeOps(insn) : NONE;
    case 0x8b:
      return wide ? loadOps(insn) : NONE;
    case 0x8d:
      return wide ? leaOps(insn) : NONE;
    case 0x8f:
    case 0x9d:
    case 0x0fa1:
    case 0x0fa9:
      return POP_MEM;
    case 0xc9:
      return LEAVE;
    case 0xff:
      return (insn.reg & 7) === 6 ? PUSH_CONST : NONE;
    default:
      return NONE;
  }
}
