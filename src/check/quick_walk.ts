// A walk where nothing has to be asked: over instructions whose answers are known to be right, one behind the other, through
// jumps and over calls. Those that leave the stack and the frame as they are, and one behind them that need not, are
// executed at once.
//
// Invariant: every instruction is visited, judged and executed as often, and in the same order as far as anybody can tell, as
// one by one; where one cannot be taken so, nothing of it was done.

import {
  BY_FP,
  BY_SP,
  type CheckedInsn,
  type CheckRun,
  NO_STORE,
  RUN_OTHER,
  RUN_PLAIN,
  RUN_STORE,
} from '../arch/checking.ts';
import type { StopKind } from '../guest/engine.ts';
import {
  IN_ALT_GROUP,
  IN_ALTS,
  IN_DEAD_END,
  IN_LAST,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_NOP,
  INSN_OTHER,
} from '../objtool/insn.ts';
import { type CheckGuest, ENTRY_SP, isOnStack, STACK_HALF, TEXT_BASE, TEXT_LO } from './check_guest.ts';
import type { QuickJudge } from './quick_judge.ts';
import { INSNS, SP } from './target.ts';
import { GRAVITY } from './totals.ts';
import type { Walk } from './walk.ts';

/** What is known of instructions without asking, and where it is noted that they were right. */
export interface QuickAnswers {
  readonly quick: QuickJudge;
  /** By instruction the worst verdict so far, 0 for none. */
  readonly worst: Uint8Array;
}

/** What a walk leaves to who executes one by one. */
export interface Effects {
  /** Whether there are frames of calls that were followed, or one less than there should be. */
  readonly hasFrames: boolean;
  /** Whether rbp is a frame pointer. */
  hasFrame(): boolean;
  /** One could not be executed. False: the path ends there. */
  stopped(insn: number, decoded: CheckedInsn, stop: StopKind): boolean;
  /** One may have changed the stack, whose pointer was `sp` before it. */
  executed(insn: number, decoded: CheckedInsn, sp: number): void;
  /** Over a call. */
  called(insn: number): void;
  fork(to: number): void;
}

/** Where ways part otherwise than by a branch, or there is none behind the instruction. */
const ASKED = IN_ALT_GROUP | IN_ALTS | IN_DEAD_END | IN_LAST;

/** Bytes that a general register has at most. */
const LONG = 8;

/** Where an instruction stands in a run. */
const AMID = 0;
const LAST = 1;
const NOT_IN_RUN = 2;

export class QuickWalk {
  /** Undefined where every instruction has to be asked about. */
  answers: QuickAnswers | undefined;
  /** Of the stack pointers since somebody set it. */
  lowest = 0;
  readonly #guest: CheckGuest;
  readonly #walk: Walk;
  readonly #run: CheckRun;
  readonly #effects: Effects;
  /** An instruction decoded, and which one it is. */
  readonly #insn = INSNS.newInsn();
  #decoded = 0;
  readonly #other = INSNS.newInsn();
  /** Registers that those of the run may write. */
  #written = 0;
  /** Where the highest of their stores on the stack ends, 0 for none. */
  #storedTo = 0;
  /** The function that is walked through, 0 for none, and whether it is another than the one that is explored. */
  #func = 0;
  #isForeign = false;

  constructor(guest: CheckGuest, walk: Walk, run: CheckRun, effects: Effects) {
    this.#guest = guest;
    this.#walk = walk;
    this.#run = run;
    this.#effects = effects;
  }

  /** As far as it goes: the first instruction that was not taken so, 0 where the path ends. */
  follow(from: number): number {
    const { answers } = this;
    this.#func = 0;
    if (!answers || this.#effects.hasFrames) return from;
    const { quick } = answers;
    const { code, visits } = this.#walk;
    const { flags, type, jumpDest, opCode, count } = code;
    const { halves } = this.#guest.context;
    let insn = from;
    while (insn !== 0) {
      if (insn >= count || flags[insn] & ASKED) return insn;
      const sp = halves[SP];
      if (visits.has(insn, sp)) return 0;
      if (!quick.knows(insn) || !isOnStack(halves)) return insn;
      if (sp < this.lowest) this.lowest = sp;
      switch (type[insn]) {
        case INSN_OTHER: {
          const next = this.#straightOn(insn, sp, answers);
          if (next < 0 || this.#effects.hasFrames) return next < 0 ? insn : next;
          insn = next;
          break;
        }
        case INSN_NOP:
          this.#visit(insn, sp, answers);
          insn = this.#next(insn);
          break;
        case INSN_JUMP_CONDITIONAL:
          this.#visit(insn, sp, answers);
          this.#effects.fork(jumpDest[insn]);
          insn = this.#next(insn);
          break;
        case INSN_JUMP:
          if (jumpDest[insn] === 0 || opCode[insn] !== 0) return insn;
          this.#visit(insn, sp, answers);
          insn = jumpDest[insn];
          break;
        case INSN_CALL:
        case INSN_CALL_DYNAMIC:
          if (!quick.knowsCalled(insn)) return insn;
          this.#visit(insn, sp, answers);
          this.#effects.called(insn);
          insn = this.#next(insn);
          break;
        default:
          return insn;
      }
    }
    return 0;
  }

  #visit(insn: number, sp: number, answers: QuickAnswers): void {
    const { code, visits, ends } = this.#walk;
    visits.add(insn, sp);
    if (code.func[insn] !== this.#func) {
      this.#func = code.func[insn];
      this.#isForeign = ends.isForeign(insn);
    }
    if (this.#isForeign) ends.visit(insn);
    if (answers.worst[insn] === 0) answers.worst[insn] = GRAVITY.right;
  }

  #next(insn: number): number {
    const { func } = this.#walk.code;
    return func[insn + 1] === func[insn] ? insn + 1 : this.#walk.ends.next(insn);
  }

  /** Where the path goes on behind a run, 0 where it ends; below 0 where the first one is not to be executed in a run. */
  #straightOn(first: number, sp: number, answers: QuickAnswers): number {
    const walk = this.#walk;
    const { code, visits } = walk;
    const { type, flags, func, length } = code;
    const { most } = this.#run;
    const { bytes } = walk.text;
    const decoded = this.#insn;
    let insn = first;
    let ip = walk.ip(first);
    let at = (ip - TEXT_LO) >>> 0;
    if (this.#decoded !== first) INSNS.decode(bytes, at, ip, decoded);
    this.#decoded = 0;
    this.#written = 0;
    this.#storedTo = 0;
    let place = this.#place(decoded);
    if (place === NOT_IN_RUN) return -1;
    this.#run.begin(bytes, TEXT_BASE);
    let hasEnd = false;
    for (let count = 1; ; count++) {
      this.#visit(insn, sp, answers);
      this.#run.add(decoded, at);
      if (place === LAST || count === most) break;
      const next = insn + 1;
      if (type[next] !== INSN_OTHER || flags[next] & ASKED || func[next] !== func[first]) break;
      hasEnd = visits.has(next, sp);
      if (hasEnd || !answers.quick.knows(next)) break;
      // What was saved there may not be there any more.
      if (this.#storedTo !== 0 && !answers.quick.isSavedFrom(next, this.#storedTo)) break;
      ip = (ip + length[insn]) | 0;
      at = (ip - TEXT_LO) >>> 0;
      INSNS.decode(bytes, at, ip, decoded);
      const ofNext = this.#place(decoded);
      if (ofNext === NOT_IN_RUN) {
        this.#decoded = next;
        break;
      }
      place = ofNext;
      insn = next;
    }
    if (!this.#execute(first, insn)) return 0;
    if (place === LAST) this.#effects.executed(insn, decoded, sp);
    return hasEnd ? 0 : this.#next(insn);
  }

  /** Where an instruction may stand, behind those of the run. */
  #place(decoded: CheckedInsn): number {
    const kind = INSNS.runKind(decoded);
    if (kind === RUN_PLAIN) {
      this.#written |= INSNS.writes(decoded);
      return AMID;
    }
    if (kind === RUN_OTHER && INSNS.skipped(decoded) >= 0) return NOT_IN_RUN;
    // Where it stores hangs on what they write.
    if (INSNS.addressedBy(decoded) & this.#written) return NOT_IN_RUN;
    const { halves } = this.#guest.context;
    const store = INSNS.storesOn(decoded, halves, STACK_HALF);
    if (kind === RUN_STORE && (store === NO_STORE || (store === BY_SP && this.#storesInFrame(decoded)))) {
      this.#written |= INSNS.writes(decoded);
      return AMID;
    }
    if (store === NO_STORE || store === BY_SP) return LAST;
    // Whether that is a frame pointer, the stack says.
    return store === BY_FP && this.#storedTo === 0 && this.#effects.hasFrame() ? LAST : NOT_IN_RUN;
  }

  /** One that stores below the return address: up to where is noted. */
  #storesInFrame(decoded: CheckedInsn): boolean {
    const at = INSNS.storesAt(decoded, this.#guest.context.halves, STACK_HALF);
    if (at === undefined || at + LONG > ENTRY_SP) return false;
    this.#storedTo = Math.max(this.#storedTo, at + LONG);
    return true;
  }

  /** Those that the run has. False: the path ends at one of them. */
  #execute(first: number, last: number): boolean {
    let from = first;
    while (true) {
      const insn = from + this.#run.execute();
      if (insn > last) return true;
      if (!this.#executeAlone(insn)) return false;
      if (insn === last) return true;
      this.#collect(insn + 1, last);
      from = insn + 1;
    }
  }

  /** One that ended a run. */
  #executeAlone(insn: number): boolean {
    const { context, engine } = this.#guest;
    const { text } = this.#walk;
    const ip = this.#walk.ip(insn);
    const at = (ip - TEXT_LO) >>> 0;
    const decoded = INSNS.decode(text.bytes, at, ip, this.#other);
    const stop = this.#run.stop ?? engine.step(context, decoded, text.bytes, at, TEXT_BASE);
    return stop === undefined || this.#effects.stopped(insn, decoded, stop);
  }

  #collect(from: number, to: number): void {
    const { bytes } = this.#walk.text;
    this.#run.begin(bytes, TEXT_BASE);
    for (let insn = from; insn <= to; insn++) {
      const ip = this.#walk.ip(insn);
      const at = (ip - TEXT_LO) >>> 0;
      this.#run.add(INSNS.decode(bytes, at, ip, this.#other), at);
    }
  }
}
