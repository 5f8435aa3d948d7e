// What analysis of compiled code asks of a port: kinds of instructions, what they do to the stack, and what a function
// finds there. Mirrors tools/objtool/include/objtool/arch.h and the kinds of instructions of check.h.
//
// Invariant: registers are numbers from 0 on that mean nothing but to the port; the names below 0 are places that are
// no register.

import type { MakeConstantReader } from './constants.ts';
import type { OrcPort } from './orc.ts';
import type { OriginReader } from './origins.ts';

/** Kinds of instructions. */
export const INSN_OTHER = 0;
export const INSN_CALL = 1;
export const INSN_CALL_DYNAMIC = 2;
export const INSN_JUMP = 3;
export const INSN_JUMP_CONDITIONAL = 4;
export const INSN_JUMP_DYNAMIC = 5;
export const INSN_JUMP_DYNAMIC_CONDITIONAL = 6;
export const INSN_RETURN = 7;
export const INSN_CONTEXT_SWITCH = 8;
export const INSN_BUG = 9;
export const INSN_NOP = 10;
export const INSN_TRAP = 11;
export const INSN_STD = 12;
export const INSN_CLD = 13;

/** Stack operations. mov from, to */
export const OP_MOVE = 1;
/** The sum of a register and a constant; from and to may be the same. */
export const OP_ADD = 2;
export const OP_AND = 3;
export const OP_POP = 4;
/** To memory, or flags, or a register that no compiler saves. */
export const OP_POP_OTHER = 5;
export const OP_PUSH = 6;
export const OP_PUSH_OTHER = 7;
/** mov offset(from), to */
export const OP_LOAD = 8;
/** mov from, offset(to) */
export const OP_STORE = 9;
/** The stack pointer is the frame pointer, which is popped. */
export const OP_LEAVE = 10;

/** An operation is two numbers, its code (what, from which register, to which) and an offset; code 0 is none. */
export const opCode = (op: number, from: number, to: number): number => op | (from << 8) | (to << 16);
export const opKind = (code: number): number => code & 0xff;
export const opFrom = (code: number): number => (code >>> 8) & 0xff;
export const opTo = (code: number): number => code >>> 16;

/** Bases that are no register. */
export const UNDEFINED = -1;
export const CFA = -2;
/** What lies where the stack pointer, or the frame pointer, points to. */
export const SP_INDIRECT = -3;
export const FP_INDIRECT = -4;

/** Decodes one instruction after the other; what it found stands until the next. */
export interface CodeDecoder {
  /** 0 where there is no instruction. */
  readonly length: number;
  /** INSN_* */
  readonly type: number;
  /** Of a direct branch, the offset that its displacement leads to. */
  readonly target: number;
  /** Its stack operation. */
  readonly op: number;
  readonly opOffset: number;
  decode(bytes: Uint8Array, offset: number): void;
}

/** Registers as stack states know them. */
export interface CodeRegisters {
  /** How many there are. */
  readonly count: number;
  readonly sp: number;
  readonly fp: number;
  /** In the order in which states are compared. */
  readonly calleeSaved: readonly number[];
  /** The number that objtool gives the return address. */
  readonly returnAddress: number;
  /** Bytes of a push. */
  readonly word: number;
  /** Bytes from the stack pointer to the caller's, at a function's first instruction. */
  readonly callFrame: number;
}

/**
 * Told of an operand: its place in the bytes, the type of relocation that would fill it in, the address that it means
 * (low half), and what that type adds to the address.
 */
export type NoteOperand = (at: number, relocation: number, target: number, bias: number) => void;

/** Code, and what it needs to be told by relocations. */
interface Forwarder {
  readonly bytes: Readonly<Uint8Array>;
  readonly argument: Operand;
  readonly callee: Operand;
}

interface Returner {
  readonly bytes: Readonly<Uint8Array>;
  readonly callee: Forwarder['callee'];
  readonly by: string;
}

interface Operand {
  readonly offset: number;
  /** Of its relocation, as ELF numbers them. */
  readonly type: number;
  readonly addend: bigint;
}

/** A port's code. Mirrors arch_decode_instruction(), arch_initial_func_cfi_state() and what stands beside them. */
export interface CodeArch {
  readonly registers: CodeRegisters;
  decoder(): CodeDecoder;
  /** Bytes of the longest instruction: how far back one may begin that reaches to a place. */
  readonly longest: number;
  /** The length of the instruction at an offset; 0 where there is none. */
  lengthAt(bytes: Uint8Array, offset: number): number;
  /**
   * The stack operation of a return from an interrupt where a function makes one to itself, in place of its kind;
   * undefined for another instruction that switches the context.
   */
  returnToSelf(
    bytes: Uint8Array,
    offset: number,
  ): { readonly op: number; readonly offset: number } | undefined;
  /** What an unwind hint names as base; undefined where no hint may. */
  hintBase(name: string): number | undefined;
  /** How the tables are laid out that are made of it. */
  readonly orc: OrcPort;
  /** Where a function starts whose call to __fentry__ is at an offset. */
  functionStart(bytes: Uint8Array, site: number): number;
  /** How many bytes before `end`, back to `start` at most, only fill up to where the next function begins. */
  fillingBefore(bytes: Uint8Array, start: number, end: number): number;
  /** A call of the hypervisor by the instruction of a system call, which comes back. */
  isHypercall(bytes: Uint8Array, offset: number): boolean;
  /** The instruction of BUG() and WARN(), by name. */
  readonly bug: string;
  /** Which constants a function hands on. */
  readonly constants: MakeConstantReader;
  /** Where pointers came from. */
  readonly origins: OriginReader;
  /** An instruction after which a guest runs, up to its exit. */
  isGuestEntry(bytes: Uint8Array, offset: number): boolean;
  /** Replacements for this CPU feature are not followed: they only let the kernel touch user memory. */
  readonly userAccessFeature: number;
  /** What a relocation of that type of an operand adds to the address that its instruction computes. */
  operandBias(relocation: number): number;
  /**
   * Notes what in the instruction at an offset, executed at `address` (low half), may be an address of the kernel.
   * @returns its length; 0 where there is no instruction
   */
  operands(bytes: Uint8Array, at: number, address: number, note: NoteOperand): number;
  /** Bytes of the displacement that ends the direct branch at an offset; 0 for any other instruction. */
  branchBytes(bytes: Uint8Array, at: number): number;
  /** The instruction at an offset adds a register to the address in its field at `place`. */
  addsRegister(bytes: Uint8Array, at: number, place: number): boolean;
  /** A byte that is an instruction nobody may run. */
  readonly trapByte: number;
  /** A function that calls another with one address, and returns what that does. */
  readonly forwarder: Forwarder;
  /** A function that does nothing, and leaves by another that all kernels export. */
  readonly returner: Returner;
  /** Types of relocations of data: 4 bytes that count from their own place, and whole addresses. */
  readonly distance: number;
  readonly wholeAddress: number;
}
