// A judge that is asked at one instruction after the other: where nothing changed that a right answer of the same row of
// the table hung on, it is right again.
//
// Invariant: a right answer hangs on the row, the stack pointer, the return address, which is always the caller's, and on
// the frame pointer, in its register or where the row says that it was saved; what hangs on more is judged each time.

import { CALLER_FP_LO, STACK_HALF } from './check_layout.ts';
import { type Judge, type JudgedState, USES_FP, USES_OTHERS } from './judge.ts';
import { FP, SP } from './target.ts';

/** By row, with what its last right answer was given; a stack pointer of 0 for none. */
class Known {
  readonly sp: Uint32Array;
  readonly fpLow: Uint32Array;
  readonly fpHigh: Uint32Array;

  constructor(rows: number) {
    this.sp = new Uint32Array(rows);
    this.fpLow = new Uint32Array(rows);
    this.fpHigh = new Uint32Array(rows);
  }
}

export class QuickJudge {
  readonly #judge: Judge;
  readonly #words: Uint32Array;
  readonly #halves: Uint32Array;
  readonly #at: Known;
  readonly #called: Known;

  constructor(judge: Judge, { words, halves }: JudgedState) {
    this.#judge = judge;
    this.#words = words;
    this.#halves = halves;
    this.#at = new Known(judge.rows);
    this.#called = new Known(judge.rows);
  }

  /** Whether an instruction's answers are right, interrupted there and preempted there. */
  rightAt(ip: number): boolean {
    const row = this.#judge.rowAt(ip);
    if (this.#knows(this.#at, row)) return true;
    const right =
      this.#judge.judge('interrupted', ip) === 'right' && this.#judge.judge('preempted', ip) === 'right';
    return this.#note(this.#at, row, right);
  }

  /** The same of a call, by the address that it returns to. */
  rightCalled(ip: number): boolean {
    const row = this.#judge.rowAt((ip - 1) | 0);
    if (this.#knows(this.#called, row)) return true;
    return this.#note(this.#called, row, this.#judge.judge('called', ip) === 'right');
  }

  #knows(known: Known, row: number): boolean {
    const halves = this.#halves;
    if (row < 0 || known.sp[row] !== halves[SP]) return false;
    const uses = this.#judge.rowUses(row);
    if (uses & USES_OTHERS) return false;
    if (uses & USES_FP && (known.fpLow[row] !== halves[FP] || known.fpHigh[row] !== halves[FP + 1]))
      return false;
    const saved = this.#judge.savedFpAt(row);
    return saved < 0 || (this.#words[saved] === CALLER_FP_LO && this.#words[saved + 1] === STACK_HALF);
  }

  #note(known: Known, row: number, right: boolean): boolean {
    if (row < 0) return right;
    const halves = this.#halves;
    known.sp[row] = right ? halves[SP] : 0;
    known.fpLow[row] = halves[FP];
    known.fpHigh[row] = halves[FP + 1];
    return right;
  }
}
