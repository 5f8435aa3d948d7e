// An instruction as the checks see it: its kind, its stack operations, where it may go.
// Mirrors struct instruction of tools/objtool/include/objtool/check.h and its insn_type.

import {
  FLOW_CALL,
  FLOW_CALL_INDIRECT,
  FLOW_FAR,
  FLOW_INT3,
  FLOW_IRET,
  FLOW_JCC,
  FLOW_JMP,
  FLOW_JMP_INDIRECT,
  FLOW_RET,
  FLOW_SYSCALL,
  FLOW_SYSRET,
  FLOW_UD2,
  type Insn,
} from '../isa/decoder.ts';
import type { Cfi } from './cfi.ts';
import type { CodeSection, CodeSymbol } from './input.ts';
import type { StackOp } from './stack_op.ts';

export const INSN_OTHER = 0;
export const INSN_CALL = 1;
export const INSN_CALL_DYNAMIC = 2;
export const INSN_JUMP = 3;
export const INSN_JUMP_CONDITIONAL = 4;
export const INSN_JUMP_DYNAMIC = 5;
export const INSN_RETURN = 6;
export const INSN_CONTEXT_SWITCH = 7;
export const INSN_BUG = 8;
export const INSN_NOP = 9;
export const INSN_TRAP = 10;
export const INSN_STD = 11;
export const INSN_CLD = 12;

/** A callable function. */
export interface Func {
  readonly symbol: CodeSymbol;
  /** Of a cold part, the function that it was split from; else itself. */
  parent: Func;
  cold: Func | undefined;
}

/** What a call or a tail call goes to: a symbol here, or a name in another object. */
export interface CallDest {
  readonly name: string;
  readonly func: Func | undefined;
}

export interface CodeInsn {
  readonly section: SectionCode;
  readonly offset: number;
  readonly length: number;
  /** Position within section.insns. */
  readonly index: number;
  type: number;
  ops: readonly StackOp[];
  func: Func | undefined;
  deadEnd: boolean;
  callDest: CallDest | undefined;
  jumpDest: CodeInsn | undefined;
  /** Further ways on: jump labels and the like. */
  edges: CodeInsn[] | undefined;
  /** The stack state is given, not found. */
  hint: boolean;
  save: boolean;
  restore: boolean;
  /** The state before the instruction; set by a hint, or when the instruction is reached. */
  cfi: Cfi | undefined;
  visited: boolean;
}

export class SectionCode {
  readonly source: CodeSection;
  readonly insns: CodeInsn[] = [];
  readonly byOffset: Int32Array;

  constructor(source: CodeSection) {
    this.source = source;
    this.byOffset = new Int32Array(source.bytes.length).fill(-1);
  }

  at(offset: number): CodeInsn | undefined {
    return this.insns[this.byOffset[offset] ?? -1];
  }
}

export interface Code {
  readonly sections: readonly SectionCode[];
  readonly symbols: readonly CodeSymbol[];
  readonly funcs: readonly Func[];
  readonly warnings: string[];
}

export function insnType(insn: Insn): number {
  switch (insn.flow) {
    case FLOW_CALL:
      return INSN_CALL;
    case FLOW_CALL_INDIRECT:
      return INSN_CALL_DYNAMIC;
    case FLOW_JMP:
      return INSN_JUMP;
    case FLOW_JCC:
      return INSN_JUMP_CONDITIONAL;
    case FLOW_JMP_INDIRECT:
      return INSN_JUMP_DYNAMIC;
    case FLOW_RET:
      return INSN_RETURN;
    case FLOW_IRET:
    case FLOW_SYSCALL:
    case FLOW_SYSRET:
      return INSN_CONTEXT_SWITCH;
    case FLOW_FAR:
      return insn.opcode === 0xff && (insn.reg & 7) === 3 ? INSN_CALL_DYNAMIC : INSN_CONTEXT_SWITCH;
    case FLOW_INT3:
      return INSN_TRAP;
    case FLOW_UD2:
      return INSN_BUG;
  }
  if (insn.vex) return INSN_OTHER;
  if (insn.opcode === 0x90 || insn.opcode === 0x0f0d || insn.opcode === 0x0f1f) return INSN_NOP;
  if (insn.opcode === 0xfd) return INSN_STD;
  return insn.opcode === 0xfc ? INSN_CLD : INSN_OTHER;
}

/** A jump out of a callable function to another one. */
export function isSiblingCall(insn: CodeInsn): boolean {
  if (!insn.func) return false;
  if (insn.type === INSN_JUMP_DYNAMIC) return !insn.edges;
  return (insn.type === INSN_JUMP || insn.type === INSN_JUMP_CONDITIONAL) && insn.callDest !== undefined;
}

/** `name+0x12`, as objtool gives places. */
export function placeName(code: Code, insn: CodeInsn): string {
  const { offset } = insn;
  const { name } = insn.section.source;
  const inside = (s: CodeSymbol): boolean =>
    s.section === name && offset >= s.offset && offset < s.offset + s.size;
  const symbol = code.symbols.find((s) => s.type === 'func' && inside(s)) ?? code.symbols.find(inside);
  return symbol
    ? `${symbol.name}+0x${(offset - symbol.offset).toString(16)}`
    : `${name}+0x${offset.toString(16)}`;
}
