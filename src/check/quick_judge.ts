// A judge that is asked at one instruction after the other: where nothing changed that a right answer of a row of the
// table hung on, it is right again, of that row and of those that say the same.
//
// Invariant: a right answer hangs on what the row says, the stack pointer, the return address, which is always the
// caller's, and on the frame pointer, in its register or where the row says that it was saved; what hangs on more is
// judged each time.

import { type Code, IN_ALT_GROUP } from '../objtool/insn.ts';
import { CALLER_FP_LO, STACK_HALF, STACK_LO } from './check_layout.ts';
import { USES_FP, USES_OTHERS } from './frame_row_facts.ts';
import type { Judge, JudgedState } from './judge.ts';
import { FP, SP } from './target.ts';
import type { Walk } from './walk.ts';

/** By what rows say: what a right answer hangs on, and with what the last one was given; a stack pointer of 0 for none. */
class Known {
  sp = new Uint32Array(256);
  fpLow = new Uint32Array(256);
  fpHigh = new Uint32Array(256);
  uses = new Uint8Array(256);
  /** Word of the stack that the frame pointer was saved in, below 0 for none. */
  saved = new Int32Array(256);

  reserve(kind: number): void {
    if (kind < this.sp.length) return;
    const room = 2 * kind;
    this.sp = larger(this.sp, new Uint32Array(room));
    this.fpLow = larger(this.fpLow, new Uint32Array(room));
    this.fpHigh = larger(this.fpHigh, new Uint32Array(room));
    this.uses = larger(this.uses, new Uint8Array(room));
    this.saved = larger(this.saved, new Int32Array(room));
  }
}

function larger<T extends Uint32Array | Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Of all objects: what rows of ORC say means the same in each. */
const BY_ORC = { at: new Known(), called: new Known() };

export class QuickJudge {
  readonly #judge: Judge;
  readonly #words: Uint32Array;
  readonly #halves: Uint32Array;
  readonly #at: Known;
  readonly #called: Known;
  /** By instruction one more than the kind of the row in force over all of it; 0 where it has to be asked. */
  #kinds: Uint16Array = NONE;

  constructor(judge: Judge, { words, halves }: JudgedState) {
    const { at, called } = judge.hasSharedKinds ? BY_ORC : { at: new Known(), called: new Known() };
    this.#at = at;
    this.#called = called;
    this.#judge = judge;
    this.#words = words;
    this.#halves = halves;
  }

  /** Looks up the rows of all instructions that are judged where they stand; those of alternatives are not. */
  prepare({ code, text }: Walk): void {
    const { count, input } = code;
    this.#kinds = takeKinds(count + 1);
    this.#kinds.fill(0, 0, count + 1);
    input.sections.forEach(({ replacement }, section) => {
      if (text.start[section] !== 0 && !replacement) this.#prepareSection(code, section, text.start[section]);
    });
  }

  #prepareSection(code: Code, section: number, start: number): void {
    const { offset, length, flags, func } = code;
    const kinds = this.#kinds;
    const end = code.endOf[section];
    let [kind, rowEnd] = [-1, -0x80000000];
    for (let insn = code.firstOf[section]; insn < end; insn++) {
      const ip = (start + offset[insn]) | 0;
      if (ip >= rowEnd) {
        kind = this.#kindOfBoth(ip);
        rowEnd = this.#judge.rowEndAt(ip);
      }
      // A return address is looked up by the byte before it, and the row may be another one there.
      const last = (ip + length[insn] - 1) | 0;
      const isWhole = last < rowEnd || this.#kindOfBoth(last) === kind;
      if (isWhole && func[insn] !== 0 && !(flags[insn] & IN_ALT_GROUP)) kinds[insn] = kind + 1;
    }
  }

  /** What a row says is of the same kind for both. */
  #kindOfBoth(ip: number): number {
    const kind = this.#kindAt(this.#at, ip);
    return this.#kindAt(this.#called, ip) < MOST_KINDS ? kind : -1;
  }

  /** Below 0 for none, or where answers hang on more. */
  #kindAt(known: Known, ip: number): number {
    const row = this.#judge.rowAt(ip);
    if (row < 0) return -1;
    const kind = this.#judge.rowKind(row);
    known.reserve(kind);
    return this.#facts(known, kind, row) & USES_OTHERS ? -1 : kind;
  }

  #facts(known: Known, kind: number, row: number): number {
    if (known.uses[kind] === 0) {
      known.uses[kind] = this.#judge.rowUses(row) | IS_KNOWN;
      known.saved[kind] = this.#judge.savedFpAt(row);
    }
    return known.uses[kind];
  }

  /** Whether an instruction's answers are surely right, interrupted there and preempted there. */
  knows(insn: number): boolean {
    return this.#isRight(this.#at, this.#kinds[insn] - 1);
  }

  /** Of one that it knows: whether the frame pointer was saved nowhere on the stack, or there or above. */
  isSavedFrom(insn: number, at: number): boolean {
    const saved = this.#at.saved[this.#kinds[insn] - 1];
    return saved < 0 || STACK_LO + 4 * saved >= at;
  }

  /** The same of a call, where it returns to. */
  knowsCalled(insn: number): boolean {
    return this.#isRight(this.#called, this.#kinds[insn] - 1);
  }

  #isRight(known: Known, kind: number): boolean {
    if (kind < 0) return false;
    const halves = this.#halves;
    if (known.sp[kind] !== halves[SP]) return false;
    const usesFp = (known.uses[kind] & USES_FP) !== 0;
    if (usesFp && (known.fpLow[kind] !== halves[FP] || known.fpHigh[kind] !== halves[FP + 1])) return false;
    const saved = known.saved[kind];
    return saved < 0 || (this.#words[saved] === CALLER_FP_LO && this.#words[saved + 1] === STACK_HALF);
  }

  /** Whether an instruction's answers are right, interrupted there and preempted there. */
  rightAt(ip: number): boolean {
    const kind = this.#kindAt(this.#at, ip);
    if (this.#isRight(this.#at, kind)) return true;
    const right =
      this.#judge.judge('interrupted', ip) === 'right' && this.#judge.judge('preempted', ip) === 'right';
    return this.#note(this.#at, kind, right);
  }

  /** The same of a call, by the address that it returns to. */
  rightCalled(ip: number): boolean {
    const kind = this.#kindAt(this.#called, (ip - 1) | 0);
    if (this.#isRight(this.#called, kind)) return true;
    return this.#note(this.#called, kind, this.#judge.judge('called', ip) === 'right');
  }

  #note(known: Known, kind: number, right: boolean): boolean {
    if (kind < 0) return right;
    const halves = this.#halves;
    known.sp[kind] = right ? halves[SP] : 0;
    known.fpLow[kind] = halves[FP];
    known.fpHigh[kind] = halves[FP + 1];
    return right;
  }
}

/** Beside USES_ bits: somebody asked. */
const IS_KNOWN = 0x80;
const NONE = new Uint16Array(0);
const MOST_KINDS = 0xffff;

/** Of one object, used again for the next: fresh pages cost more than clearing used ones. */
let spare = NONE;

function takeKinds(room: number): Uint16Array {
  if (spare.length < room) spare = new Uint16Array(Math.ceil(room * 1.25) + 1024);
  return spare;
}
