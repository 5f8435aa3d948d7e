// A judge that is asked at one instruction after the other: where nothing changed that the answer hangs on, the
// verdict is the one given before.
//
// Invariant: an answer hangs on the table's row, rsp, the stack, and on rbp and other registers as the row says.

import { REG } from '../guest/engine.ts';
import { type Judge, type JudgedState, USES_BP, USES_OTHERS } from './judge.ts';
import type { Stand, Verdict } from './ports.ts';

const SP = 2 * REG.rsp;
const BP = 2 * REG.rbp;
const NEVER = -2;

class Memory {
  row = NEVER;
  sp = 0;
  bpLow = 0;
  bpHigh = 0;
  version = 0;
  verdict: Verdict = 'right';
}

export class QuickJudge {
  readonly #judge: Judge;
  readonly #state: JudgedState & { readonly version: number };
  readonly #last: Readonly<Record<Stand, Memory>> = {
    interrupted: new Memory(),
    preempted: new Memory(),
    called: new Memory(),
  };

  constructor(judge: Judge, state: JudgedState & { readonly version: number }) {
    this.#judge = judge;
    this.#state = state;
  }

  needsRegisters(ip: number): boolean {
    const judge = this.#judge;
    return (judge.rowUses(judge.rowAt(ip)) & USES_OTHERS) !== 0;
  }

  /** As Judge.judge(). */
  judge(stand: Stand, ip: number): Verdict {
    const judge = this.#judge;
    const { halves, version } = this.#state;
    const row = judge.rowAt(stand === 'called' ? (ip - 1) | 0 : ip);
    const uses = judge.rowUses(row);
    const last = this.#last[stand];
    if (
      row === last.row &&
      halves[SP] === last.sp &&
      version === last.version &&
      (uses === 0 || (uses === USES_BP && halves[BP] === last.bpLow && halves[BP + 1] === last.bpHigh))
    ) {
      return last.verdict;
    }
    last.verdict = judge.judge(stand, ip);
    last.row = row;
    last.sp = halves[SP];
    last.bpLow = halves[BP];
    last.bpHigh = halves[BP + 1];
    last.version = version;
    return last.verdict;
  }
}
