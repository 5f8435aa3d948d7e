// What a check of real code (src/check) asks of a port: registers that functions give back or spoil, what an
// instruction does to the stack and to the frame, and what executes it.
//
// Invariant: a store on the stack that may happen is in the answer; more may be.

import type { Addr } from '../guest/addr.ts';
import type { CpuContext, Engine, StopKind } from '../guest/engine.ts';
import type { EngineName } from './engine.ts';
import type { FrameTables } from './frame_tables.ts';
import type { Unwinder } from './unwinders.ts';

/** What an instruction stores on the stack. */
export const NO_STORE = 0;
/** By the stack pointer and a constant. */
export const BY_SP = 1;
/** By the register of frame pointers and a constant. */
export const BY_FP = 2;
/** By other registers: it may be anywhere there. */
export const BY_OTHERS = 3;

/** What is special about an instruction: why an engine may not be given it. */
export const VECTOR = 0;
export const PRIVILEGED = 1;
export const DIVISION = 2;
export const REPEATED = 3;
/** It goes somewhere by what is on the stack or in a table, not in its code: int, and iret within a function. */
export const INTERRUPT = 4;

export interface NamedRegister {
  /** As a disassembler prints it. */
  readonly name: string;
  /** Index in CpuContext.regs. */
  readonly number: number;
}

export interface CheckedRegisters {
  /** How many general registers there are, numbered from 0; those with a purpose of their own are among them. */
  readonly general: number;
  readonly sp: NamedRegister;
  readonly fp: NamedRegister;
  readonly pc: number;
  readonly flags: number;
  /** Flags at a function's entry. */
  readonly flagsAtEntry: bigint;
  /** What a function gives back as it was: the frame pointer first. */
  readonly calleeSaved: readonly NamedRegister[];
  /** What a callee leaves nothing known in. */
  readonly callerSaved: readonly NamedRegister[];
  /** Of each word of struct pt_regs the register that it saves, if it is one of a context. */
  readonly ofPtRegs: readonly (number | undefined)[];
  /** Of the mode word of struct pt_regs, for code of the kernel. */
  readonly kernelMode: number;
}

/** Of an instruction behind others, which were not executed yet: it does nothing to the stack or the frame. */
export const RUN_PLAIN = 0;
/** The same, but for a store to where registers say. */
export const RUN_STORE = 1;
/** Anything else. */
export const RUN_OTHER = 2;

/** A decoded instruction: the port's own but for its length. */
export interface CheckedInsn {
  readonly length: number;
}

export interface CheckedInsns {
  /** Something to decode into. */
  newInsn(): CheckedInsn;
  /** The instruction at an index of `bytes`, as it is at an address (low half); `into` afterwards. */
  decode(bytes: Uint8Array, at: number, address: number, into: CheckedInsn): CheckedInsn;

  /** Where it stores, by the address that its registers make, in the 4 GiB of the stack: NO_STORE and the others. */
  storesOn(insn: CheckedInsn, halves: Uint32Array, highHalf: number): number;
  /** The register that counts its repetitions, -1 for none. */
  counter(insn: CheckedInsn): number;
  /** The low half of the address where it stores by a base register alone; undefined where it is not known to. */
  storesAt(insn: CheckedInsn, halves: Uint32Array, highHalf: number): number | undefined;
  /** Whether it takes a register off the stack pointer. */
  makesRoom(insn: CheckedInsn): boolean;
  /** Its part of the stack alone, in bytes, where its other operand is nowhere; undefined where it has none apart. */
  deltaAlone(insn: CheckedInsn): number | undefined;

  /**
   * RUN_PLAIN and the others: one that is RUN_PLAIN surely leaves the stack, its pointer and the frame pointer as they are,
   * with nothing special about it.
   */
  runKind(insn: CheckedInsn): number;
  /** A bit for each general register that it may write, of those that are not RUN_OTHER. */
  writes(insn: CheckedInsn): number;
  /** The same for those that the address of its operand in memory is made of. */
  addressedBy(insn: CheckedInsn): number;
  /** VECTOR and the others; -1 for an instruction that every engine executes. */
  skipped(insn: CheckedInsn): number;
  /** Bytes that one which is stepped over takes off the stack all the same. */
  takesOff(insn: CheckedInsn): number;
  /** Whether the engine must not meet it. */
  isRefused(bytes: Uint8Array, at: number): boolean;
  /** Makes what the engine would read otherwise than a processor the same instruction in other bytes, as many. */
  straighten(bytes: Uint8Array, at: number): void;

  /** Whether all that stands at an offset in it is the value of an operand, whichever: not for all of which that is true. */
  isValueAt(insn: CheckedInsn, offset: number, width: number): boolean;
  /** Whether two instructions differ in no more than the value of an operand. */
  isSameButValue(a: CheckedInsn, b: CheckedInsn): boolean;
  /** Operands that are addresses of memory: where they stand, and the type of a relocation for it. */
  addresses(insn: CheckedInsn, next: number): readonly InsnAddress[];

  /** What no path should come to, between sections. */
  readonly filler: number;
  /** An instruction that is undefined for good. */
  readonly undefined: Readonly<Uint8Array>;
}

export interface InsnAddress {
  /** Low half of the address that it means. */
  readonly address: number;
  /** From the instruction's end back. */
  readonly fromEnd: number;
  readonly relocation: number;
  /** Not: it may be a number just as well. */
  readonly certain: boolean;
}

/** What code at an address does to the frame of its function. */
export interface FrameCode {
  /** Pushes, or a move to the frame pointer, or room made on the stack. */
  makesFrame(code: Uint8Array): boolean;
  pops(code: Uint8Array): boolean;
  /** Whether 8 bytes of code end by giving the frame up: a return that follows them is the function's own. */
  hasPopped(before: Uint8Array): boolean;
  /** Whether what stands at an address returns, or jumps to what does so for everybody. */
  returns(code: Uint8Array, at: bigint, addressOf: (symbol: string) => bigint): boolean;
  /** Bytes of a trampoline that are code: what is behind its last return is data. */
  codeSize(trampoline: Uint8Array): number;
}

/** What a task that is switched out has at its stack pointer: struct inactive_task_frame. Offsets in bytes. */
export interface InactiveFrame {
  readonly size: number;
  /** Where the frame pointer is saved, and where the switch goes on. */
  readonly fp: number;
  readonly pc: number;
}

/** What an unwinder says of the frame it stands at, beside the address. */
export interface Unwound {
  /** Offset of the caller's stack pointer after the return. */
  readonly prevSp: number;
  /** Whether it has the caller's frame pointer. */
  readonly fpRight: boolean;
}

/** Addresses from one to another. */
export type Zone = readonly [from: Addr, to: Addr];

/** Instructions one behind the other, executed at once. */
export interface CheckRun {
  /** How many it may have. */
  readonly most: number;
  /** Those from now on, out of bytes whose first is at the address `base`. */
  begin(bytes: Uint8Array, base: Addr): void;
  /** One decoded from an index of the bytes. */
  add(insn: CheckedInsn, at: number): void;
  /** @returns how many were executed: all of them, or those before one that stopped the run */
  execute(): number;
  /** What stopped it; undefined where the instruction is to be executed by step(). */
  readonly stop: StopKind | undefined;
}

/** The engine that a check executes in, an image or not. */
export interface CheckEngine extends Engine {
  /** Maps memory that it allocated, from an offset of it on. `prot`: as mmap() has it. */
  map(base: Addr, size: number, prot: number, offset: number): void;
  /** Maps memory again and again wherever nothing else is, at least in some zones. `size`: a power of 2. */
  mapElsewhere(zones: readonly Zone[], size: number, offset: number): void;
  /** Makes a context as a new one is, whatever code did to its machine. */
  reset(context: CpuContext): void;
  /** Whether it reads code that it is not told to execute: it may meet what isRefused() says there. */
  readonly readsAhead: boolean;
  /** Whether it must not be given instructions with this about them (VECTOR and the others). */
  cannot(why: number): boolean;
  /** Undefined for one that takes instructions one by one. */
  readonly straightRun?: CheckRun;
  /**
   * Executes one instruction whole, with its repetitions: the one at the PC, decoded from an index of bytes whose
   * first is at the address `base`. @returns what stopped it, undefined when it is done
   */
  step(
    context: CpuContext,
    insn: CheckedInsn,
    bytes: Uint8Array,
    at: number,
    base: Addr,
  ): StopKind | undefined;
}

export interface Checking {
  /** @throws EngineError when it cannot be had. */
  makeEngine(name: EngineName): CheckEngine;
  readonly registers: CheckedRegisters;
  readonly insns: CheckedInsns;
  readonly frames: FrameCode;
  readonly inactive: InactiveFrame;
  /** Of objects that have SFrame or DWARF. */
  readonly tables: FrameTables;
  /**
   * Of one of the port's own unwinders, undefined for one that says nothing of it. `words`: the stack of slot 0;
   * the frame pointer that is true, in halves.
   */
  unwound(unwinder: Unwinder, words: Uint32Array, fpLow: number, fpHigh: number): Unwound | undefined;
}
