// A judge that is asked at one instruction after the other: where nothing changed that a right answer of a row of the
// table hung on, it is right again, of that row and of those that say the same.
//
// Invariant: a right answer hangs on what the row says, the stack pointer, the return address, which is always the
// caller's, and on the frame pointer, in its register or where the row says that it was saved; what hangs on more is
// judged each time.

import { CALLER_FP_LO, STACK_HALF } from './check_layout.ts';
import { USES_FP, USES_OTHERS } from './frame_row_facts.ts';
import type { Judge, JudgedState } from './judge.ts';
import { FP, SP } from './target.ts';

/** By what rows say, with what its last right answer was given; a stack pointer of 0 for none. */
class Known {
  sp = new Uint32Array(256);
  fpLow = new Uint32Array(256);
  fpHigh = new Uint32Array(256);

  reserve(kind: number): void {
    if (kind < this.sp.length) return;
    const room = 2 * kind;
    this.sp = larger(this.sp, room);
    this.fpLow = larger(this.fpLow, room);
    this.fpHigh = larger(this.fpHigh, room);
  }
}

function larger(words: Uint32Array, room: number): Uint32Array<ArrayBuffer> {
  const found = new Uint32Array(room);
  found.set(words);
  return found;
}

/** Of all objects: what rows of ORC say means the same in each. */
const BY_ORC = { at: new Known(), called: new Known() };

export class QuickJudge {
  readonly #judge: Judge;
  readonly #words: Uint32Array;
  readonly #halves: Uint32Array;
  readonly #at: Known;
  readonly #called: Known;

  constructor(judge: Judge, { words, halves }: JudgedState) {
    const { at, called } = judge.hasSharedKinds ? BY_ORC : { at: new Known(), called: new Known() };
    this.#at = at;
    this.#called = called;
    this.#judge = judge;
    this.#words = words;
    this.#halves = halves;
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
    if (row < 0) return false;
    const halves = this.#halves;
    const kind = this.#judge.rowKind(row);
    if (known.sp[kind] !== halves[SP]) return false;
    const uses = this.#judge.rowUses(row);
    if (uses & USES_OTHERS) return false;
    if (uses & USES_FP && (known.fpLow[kind] !== halves[FP] || known.fpHigh[kind] !== halves[FP + 1]))
      return false;
    const saved = this.#judge.savedFpAt(row);
    return saved < 0 || (this.#words[saved] === CALLER_FP_LO && this.#words[saved + 1] === STACK_HALF);
  }

  #note(known: Known, row: number, right: boolean): boolean {
    if (row < 0) return right;
    const halves = this.#halves;
    const kind = this.#judge.rowKind(row);
    known.reserve(kind);
    known.sp[kind] = right ? halves[SP] : 0;
    known.fpLow[kind] = halves[FP];
    known.fpHigh[kind] = halves[FP + 1];
    return right;
  }
}
