// A judge that is asked at one instruction after the other: where nothing changed that the answer hangs on, the
// verdict is the one given before.
//
// Invariant: an answer hangs on the table's row, rsp, the stack, and on rbp and other registers as the row says.

import { REG } from '../arch/x86_64/context.ts';
import { type Judge, type JudgedState, USES_BP, USES_OTHERS } from './judge.ts';

const SP = 2 * REG.rsp;
const BP = 2 * REG.rbp;
const NEVER = -2;

class Memory {
  row = NEVER;
  sp = 0;
  bpLow = 0;
  bpHigh = 0;
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

  needsRegisters(ip: number): boolean {
    const judge = this.#judge;
    return (judge.rowUses(judge.rowAt(ip)) & USES_OTHERS) !== 0;
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
      (uses === 0 || (uses === USES_BP && halves[BP] === last.bpLow && halves[BP + 1] === last.bpHigh));
    if (same) return true;
    last.row = row;
    last.sp = halves[SP];
    last.bpLow = halves[BP];
    last.bpHigh = halves[BP + 1];
    last.version = version;
    return false;
  }
}
