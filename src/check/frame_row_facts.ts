// What a right answer of a frame table's row hangs on: which registers, and which word of the stack.
//
// Invariant: what is not known to be plain hangs on all registers.

import type { FrameTable } from '../frames/frame_table.ts';
import type { FrameRow } from '../frames/rows.ts';
import { STACK_LO } from './check_layout.ts';
import { OUTERMOST } from './live_frames.ts';
import { TABLES } from './target.ts';

/** What an answer hangs on besides the stack and its pointer. */
export const USES_FP = 1;
export const USES_OTHERS = 2;

const { registers, callSize } = TABLES;
const { sp, fp, returnAddress } = registers;

export class FrameRowFacts {
  readonly #table: FrameTable;
  readonly #uses: Uint8Array;
  readonly #savedFpAt: Int32Array;

  constructor(table: FrameTable) {
    this.#table = table;
    this.#uses = Uint8Array.from(table.rows, usesOf);
    this.#savedFpAt = Int32Array.from(table.rows, savedFpAt);
  }

  /** Number of the row in force at an address. */
  find(ip: number): number {
    return this.#table.find(ip);
  }
  uses(row: number): number {
    return this.#uses[row];
  }
  /** Index of the word that the frame pointer is in, below 0 for none. */
  savedFpAt(row: number): number {
    return this.#savedFpAt[row];
  }
}

function usesOf({ cfa, rules, returnAddress: column }: FrameRow): number {
  const all = USES_FP | USES_OTHERS;
  if (cfa.kind !== 'register' || cfa.deref || (cfa.register !== sp && cfa.register !== fp)) return all;
  const address = rules.get(column);
  const plain = address?.kind === 'cfa' && address.deref && address.offset === -callSize;
  if (!plain || column !== returnAddress || rules.has(sp)) return all;
  const saved = rules.get(fp);
  if (saved?.kind === 'cfa' && saved.deref) return cfa.register === fp ? USES_FP : 0;
  return saved === undefined || saved.kind === 'same' ? USES_FP : all;
}

function savedFpAt({ rules }: FrameRow): number {
  const saved = rules.get(fp);
  return saved?.kind === 'cfa' && saved.deref ? (OUTERMOST.sp + saved.offset - STACK_LO) >> 2 : -1;
}
