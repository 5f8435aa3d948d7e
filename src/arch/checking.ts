// What a check of real code (src/check) asks of a port: registers that functions give back or spoil, what an
// instruction does to the stack and to the frame, and the code that runs straight pieces of a function.
//
// Invariant: a change to the stack or the frame pointer that may happen is in the answer; more may be.

import type { Addr } from '../guest/addr.ts';
import type { Engine } from '../guest/engine.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { CodeWriter } from './code_writer.ts';
import type { Unwinder } from './unwinders.ts';

/** What an instruction does, as bits. */
/** May change the stack pointer. */
export const CHANGES_SP = 1;
/** May change the frame pointer. */
export const CHANGES_FP = 2;
/** Pushes the frame pointer. */
export const PUSHES_FP = 4;
/** Stores the frame pointer at a constant distance from itself or from the stack pointer. */
export const STORES_FP = 8;
/** Nothing is known: to be executed by itself. */
export const ODD = 16;

/** Why an instruction is stepped over instead of executed. */
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

/** A decoded instruction: the port's own but for its length. */
export interface CheckedInsn {
  readonly length: number;
}

export interface CheckedInsns {
  /** Something to decode into. */
  newInsn(): CheckedInsn;
  /** The instruction at an index of `bytes`, as it is at an address (low half); `into` afterwards. */
  decode(bytes: Uint8Array, at: number, address: number, into: CheckedInsn): CheckedInsn;

  /** CHANGES_SP and the others. */
  effects(insn: CheckedInsn): number;
  /** What a push, a pop or an addition of a constant makes of the stack pointer; 0 where that is not what it is. */
  stackDelta(insn: CheckedInsn): number;
  /** Stack pointer or frame pointer where it alone, with a constant, is the address of the operand; else -1. */
  base(insn: CheckedInsn): number;
  /** That constant. */
  distance(insn: CheckedInsn): number;
  /** Whether it has an operand in memory whose place hangs on more than these. */
  accessesElsewhere(insn: CheckedInsn): boolean;
  /** The low half of the address where it stores by a base register alone; undefined where it is not known to. */
  storesAt(insn: CheckedInsn, halves: Uint32Array, highHalf: number): number | undefined;
  /** Whether it takes a register off the stack pointer. */
  makesRoom(insn: CheckedInsn): boolean;
  /** Its part of the stack alone, in bytes, where its other operand is nowhere; undefined where it has none apart. */
  deltaAlone(insn: CheckedInsn): number | undefined;

  /** VECTOR and the others; -1 for an instruction that is executed. */
  skipped(insn: CheckedInsn): number;
  /** Bytes that one which is stepped over takes off the stack all the same. */
  takesOff(insn: CheckedInsn): number;
  /** Whether the engine must not meet it. */
  isRefused(bytes: Uint8Array, at: number): boolean;
  /** Makes what the engine would read otherwise than a processor the same instruction in other bytes, as many. */
  straighten(bytes: Uint8Array, at: number): void;

  /** Where the distance from the program counter stands in it, from its end; 0 where it has none. */
  distanceFromEnd(insn: CheckedInsn): number;
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

/** The engine that a check executes in, an image or not. */
export interface CheckEngine extends Engine {
  /** Maps memory that it allocated, or shares, from an offset of it on. `prot`: as mmap() has it. */
  map(base: Addr, size: number, prot: number, offset: number): void;
  /** Writes what hardware needs to run code of the kernel into a page of the guest's memory, and loads it. */
  loadTablesAt(mem: GuestMemory, at: Addr): void;
  /** Has the memory that another engine allocated. */
  share(buffer: ArrayBuffer, start: number): void;
}

export interface Checking {
  /** @throws EngineError when it cannot be had. */
  makeEngine(): CheckEngine;
  readonly registers: CheckedRegisters;
  readonly insns: CheckedInsns;
  readonly frames: FrameCode;
  readonly inactive: InactiveFrame;
  /**
   * Of one of the port's own unwinders, undefined for one that says nothing of it. `words`: the stack of slot 0;
   * the frame pointer that is true, in halves.
   */
  unwound(unwinder: Unwinder, words: Uint32Array, fpLow: number, fpHigh: number): Unwound | undefined;
  readonly code: CodeWriter;
}
