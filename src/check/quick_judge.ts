// A judge that is asked at one instruction after the other: where nothing changed that the answer hangs on, the
// verdict is the one given before.
//
// Invariant: an answer hangs on the table's row, rsp, the stack, and on rbp and other registers as the row says.

import { type Judge, type JudgedState, USES_FP } from './judge.ts';
import { FP, SP } from './target.ts';

const NEVER = -2;

class Memory {
  row = NEVER;
  sp = 0;
  fpLow = 0;
  fpHigh = 0;
  version = 0;
  right = false;
}

export class QuickJudge {
  readonly #judge: Judge;
  readonly #state: JudgedState & { readonly version: number };
  readonly #at = new Memory();
  readonly #called = new Memory();

  constructor(judge: Judge, state: JudgedState & { readonly version: number }) {
    this.#judge = judge;
    this.#state = state;
  }

  /** Whether an instruction's answers are right, interrupted there and preempted there. */
  rightAt(ip: number): boolean {
    const last = this.#at;
    if (this.#recall(last, this.#judge.rowAt(ip))) return last.right;
    last.right =
      this.#judge.judge('interrupted', ip) === 'right' && this.#judge.judge('preempted', ip) === 'right';
    return last.right;
  }

  /** The same of a call, by the address that it returns to. */
  rightCalled(ip: number): boolean {
    const last = this.#called;
    if (this.#recall(last, this.#judge.rowAt((ip - 1) | 0))) return last.right;
    last.right = this.#judge.judge('called', ip) === 'right';
    return last.right;
  }

  /** False: something is another than it was, and is noted. */
  #recall(last: Memory, row: number): boolean {
    const { halves, version } = this.#state;
    const uses = this.#judge.rowUses(row);
    const same =
      row === last.row &&
      halves[SP] === last.sp &&
      version === last.version &&
      (uses === 0 || (uses === USES_FP && halves[FP] === last.fpLow && halves[FP + 1] === last.fpHigh));
    if (same) return true;
    last.row = row;
    last.sp = halves[SP];
    last.fpLow = halves[FP];
    last.fpHigh = halves[FP + 1];
    last.version = version;
    return false;
  }
}
