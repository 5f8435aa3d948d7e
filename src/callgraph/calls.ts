// Who calls whom in a piece of text, by its code alone: each function's branches that leave it, direct ones with where they
// go, the others as places that go nobody knows where.
//
// Invariant: every byte between two functions' starts is of the first of them; what cannot be read is counted, not passed over.

import {
  type CodeArch,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_RETURN,
  INSN_TRAP,
} from '../arch/code.ts';

/** How a branch leaves its function. */
export const BY_CALL = 0;
export const BY_JUMP = 1;
const BY_INDIRECT_CALL = 2;
export const BY_INDIRECT_JUMP = 3;

/** A run of text, by the low half of its address. */
export interface TextRun {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Plain data: it can be kept on disk. */
export interface Calls {
  /** Functions by the low halves of their addresses, ascending; behind them is each one's end. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** Of each function where its branches begin in the columns that follow; one more at the end. */
  readonly first: Uint32Array;
  /** Where a direct branch goes; 0 for the others. */
  readonly to: Uint32Array;
  /** The branch itself. */
  readonly at: Uint32Array;
  /** BY_* */
  readonly how: Uint8Array;
  /** A return is in it. */
  readonly returns: Uint8Array;
  /** Bytes that are no instruction. */
  readonly unread: Uint32Array;
}

/** A column that grows. */
class Column {
  #values = new Uint32Array(1 << 12);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = new Uint32Array(2 * this.length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length++] = value;
  }

  get values(): Uint32Array {
    return this.#values.slice(0, this.length);
  }
}

/** @param starts low halves of addresses, ascending, each once; those outside of the text are left out */
export function readCalls(code: CodeArch, runs: readonly TextRun[], starts: readonly number[]): Calls {
  const reader = new CallReader(code);
  for (const run of [...runs].sort((a, b) => a.start - b.start)) reader.run(run, starts);
  return reader.done();
}

const HOW = new Map<number, number>([
  [INSN_CALL, BY_CALL],
  [INSN_JUMP, BY_JUMP],
  [INSN_JUMP_CONDITIONAL, BY_JUMP],
  [INSN_CALL_DYNAMIC, BY_INDIRECT_CALL],
  [INSN_JUMP_DYNAMIC, BY_INDIRECT_JUMP],
]);

class CallReader {
  readonly #code: CodeArch;
  readonly #starts = new Column();
  readonly #ends = new Column();
  readonly #first = new Column();
  readonly #to = new Column();
  readonly #at = new Column();
  readonly #how = new Column();
  readonly #returns = new Column();
  readonly #unread = new Column();

  constructor(code: CodeArch) {
    this.#code = code;
  }

  run({ start, bytes }: TextRun, starts: readonly number[]): void {
    const end = start + bytes.length;
    let i = lowerBound(starts, start);
    for (; i < starts.length && starts[i] < end; i++)
      this.#function(bytes, start, starts[i], Math.min(starts[i + 1] ?? end, end));
  }

  #function(bytes: Uint8Array, base: number, start: number, end: number): void {
    const decoder = this.#code.decoder();
    this.#starts.push(start);
    this.#ends.push(end);
    this.#first.push(this.#to.length);
    let [returns, unread] = [0, 0];
    for (let at = start; at < end; ) {
      decoder.decode(bytes, at - base);
      const { length, type } = decoder;
      // One that does not end with its function is none.
      if (length === 0 || at + length > end) {
        // Sections of a module are set apart by zeroes.
        if (bytes.subarray(at - base, end - base).every((byte) => byte === 0)) break;
        unread++;
        at++;
        continue;
      }
      if (type === INSN_RETURN || type === INSN_CONTEXT_SWITCH) returns = 1;
      const how = type === INSN_TRAP ? undefined : HOW.get(type);
      if (how !== undefined) this.#branch(at, how, base + decoder.target, start, end);
      at += length;
    }
    this.#returns.push(returns);
    this.#unread.push(unread);
  }

  #branch(at: number, how: number, to: number, start: number, end: number): void {
    const isDirect = how === BY_CALL || how === BY_JUMP;
    if (how === BY_JUMP && to >= start && to < end) return;
    this.#to.push(isDirect ? to >>> 0 : 0);
    this.#at.push(at);
    this.#how.push(how);
  }

  done(): Calls {
    this.#first.push(this.#to.length);
    return {
      starts: this.#starts.values,
      ends: this.#ends.values,
      first: this.#first.values,
      to: this.#to.values,
      at: this.#at.values,
      how: Uint8Array.from(this.#how.values),
      returns: Uint8Array.from(this.#returns.values),
      unread: this.#unread.values,
    };
  }
}

/** Index of the first that is not below. */
export function lowerBound(values: ArrayLike<number>, wanted: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (values[mid] < wanted) low = mid + 1;
    else high = mid;
  }
  return low;
}
