// What an instruction does to the stack pointer, the frame pointer and saved registers.
// Mirrors arch_decode_instruction() of tools/objtool/arch/x86/decode.c.
//
// Invariant: an operation is two numbers, its code (what, from which register, to which) and
// an offset; code 0 is no operation. `leave`, which is two, has a code of its own.

import { type Insn, NO_INDEX, REX_W } from '../isa/decoder.ts';
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

/** Of the one-byte opcodes, those that may be an operation; all of the two-byte map are looked at. */
const MAY_BE = Uint8Array.from({ length: 256 }, (_, byte) =>
  (byte >= 0x50 && byte <= 0x5f) ||
  [0x01, 0x29, 0x68, 0x6a, 0x80, 0x81, 0x83, 0x88, 0x89, 0x8b, 0x8d, 0x8f, 0x9c, 0x9d].includes(byte) ||
  [0xc9, 0xe8, 0xff].includes(byte)
    ? 1
    : 0,
);

/** Offset of the operation that stackOp() found last. */
export let stackOpOffset = 0;

/** The register that alone makes up a memory operand's address, or -1. */
function plainBase(insn: Insn): number {
  if (insn.mod === 3 || insn.ripRelative) return -1;
  if (!insn.hasSib) return insn.rm;
  return insn.sibIndex === NO_INDEX ? insn.sibBase : -1;
}

/** 89 and 88: mov reg, r/m. */
function storeOp(insn: Insn): number {
  if (insn.opcode === 0x89 && insn.mod === 3) {
    return insn.reg === SP || insn.rm === SP ? opCode(OP_MOVE, insn.reg, insn.rm) : 0;
  }
  const base = plainBase(insn);
  stackOpOffset = insn.disp;
  if (insn.opcode === 0x89 && insn.reg === SP) return base < 0 ? 0 : opCode(OP_STORE, SP, base);
  return base === BP || base === SP ? opCode(OP_STORE, insn.reg, base) : 0;
}

function arithmeticOp(insn: Insn): number {
  if (insn.mod !== 3 || insn.rm !== SP) return 0;
  const extension = insn.reg & 7;
  stackOpOffset = extension === 5 ? -insn.imm : insn.imm;
  if (extension === 0 || extension === 5) return opCode(OP_ADD, SP, SP);
  return extension === 4 ? opCode(OP_AND, SP, SP) : 0;
}

function wideOp(insn: Insn): number {
  switch (insn.opcode) {
    case 0x01:
    case 0x29:
      return insn.mod === 3 && insn.rm === SP ? opCode(OP_ADD, insn.reg, SP) : 0;
    case 0x80:
    case 0x81:
    case 0x83:
      return arithmeticOp(insn);
    case 0x88:
    case 0x89:
      return storeOp(insn);
    case 0x8b: {
      const base = plainBase(insn);
      stackOpOffset = insn.disp;
      return base === BP || base === SP ? opCode(OP_LOAD, base, insn.reg) : 0;
    }
    case 0x8d: {
      const base = plainBase(insn);
      stackOpOffset = insn.disp;
      return base < 0 ? 0 : opCode(insn.disp === 0 ? OP_MOVE : OP_ADD, base, insn.reg);
    }
    default:
      return 0;
  }
}

/** The code of an instruction's operation, its offset in `stackOpOffset`; most instructions have none. */
export function stackOp(insn: Insn): number {
  const { opcode } = insn;
  stackOpOffset = 0;
  if (opcode > 0xff) {
    if (opcode === 0x0fa0 || opcode === 0x0fa8) return OP_PUSH_OTHER;
    return opcode === 0x0fa1 || opcode === 0x0fa9 ? OP_POP_OTHER : 0;
  }
  if (MAY_BE[opcode] === 0 || insn.vex) return 0;
  if (opcode >= 0x50 && opcode <= 0x5f) {
    const reg = (opcode & 7) | ((insn.rex & 1) << 3);
    return opcode < 0x58 ? opCode(OP_PUSH, reg, 0) : opCode(OP_POP, 0, reg);
  }
  switch (opcode) {
    case 0x68:
    case 0x6a:
    case 0x9c:
    case 0xe8:
      return OP_PUSH_OTHER;
    case 0x8f:
    case 0x9d:
      return OP_POP_OTHER;
    case 0xc9:
      return OP_LEAVE;
    case 0xff:
      return (insn.reg & 7) === 6 ? OP_PUSH_OTHER : 0;
    default:
      return (insn.rex & REX_W) === 0 ? 0 : wideOp(insn);
  }
}
