// What a port knows of frame tables other than ORC: SFrame's and DWARF's. And the unwinder that goes by one of them.

import type { FrameRegisters, FrameRow } from '../frames/rows.ts';
import type { SFrameAbi } from '../frames/sframe.ts';
import type { UnwinderPort } from './unwinders.ts';

/** What is in force at an address of text, given by its low half. */
export interface FrameRows {
  rowAt(ip: number): FrameRow | undefined;
}

export interface FrameTables {
  readonly registers: FrameRegisters;
  readonly sframe: SFrameAbi;
  /** By number of DWARF, the word of struct pt_regs. */
  readonly ptRegs: readonly string[];
  /** Bytes that a call leaves on the stack; the return address is there. */
  readonly callSize: number;
  unwinder(rows: FrameRows): UnwinderPort;
}
