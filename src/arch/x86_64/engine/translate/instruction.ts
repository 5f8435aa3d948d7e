// What the tables of instructions are made of.

import type { Insn } from '../../../../isa/decoder.ts';
import { STOP_HERE, STOP_MACHINE, STOP_UNDEFINED } from '../../core/kinds.ts';
import type { Place } from './place.ts';
import type { OperationWriter } from './writer.ts';

/** One instruction to be written down. */
export interface Instruction {
  readonly w: OperationWriter;
  readonly insn: Insn;
  /** The bytes that it is in, and where it begins in them. */
  readonly bytes: Uint8Array;
  readonly at: number;
  /** Where the next one is. */
  readonly next: Place;
  /** Whether it is executed at privilege level 3. */
  readonly user: boolean;
  /** CR4.OSXSAVE: whether there are XSAVE and what needs its state, AVX and AVX-512. */
  readonly hasXsave: boolean;
  /** Whether text of an ftrace trampoline is at an address, by its low half; undefined where calls are not noted. */
  readonly isTrampoline: IsTrampoline | undefined;
}

export type IsTrampoline = (lo: number) => boolean;

/** Writes an instruction's operations. @returns false when there is no such instruction */
export type Translate = (i: Instruction) => boolean | void;

/** Opcodes from one to another; a later row stands over an earlier one. */
export type Row = readonly [from: number, to: number, translate: Translate];

/** A table of 256 opcodes. */
export function tableOf(rows: readonly Row[]): readonly (Translate | undefined)[] {
  const table: (Translate | undefined)[] = new Array(256);
  for (const [from, to, translate] of rows) table.fill(translate, from, to + 1);
  return table;
}

/** The constant of an instruction with its sign above it. */
export const immediate = (insn: Insn): number => insn.imm;

/** Ends the run before this instruction. */
export function stop({ w }: Instruction, why: number): void {
  w.numbered(STOP_HERE, 0, 0, why);
}
/** Ends the run behind it. */
export function stopBehind({ w }: Instruction, why: number): void {
  w.op(STOP_HERE, { imm: why, c: 1 });
}

export const undefinedInstruction = (i: Instruction): void => stop(i, STOP_UNDEFINED);
/** The engine does it (machine_instructions.ts). */
export const byEngine = (i: Instruction): void => stop(i, STOP_MACHINE);
