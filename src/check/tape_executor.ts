// Executes what a walk comes to on the tape, a straight piece at a run.
//
// A piece ends where a path has to be taken up again later (all registers and the stack are kept there), where
// it has been before, and before what cannot be followed by what is noted on the tape. Within a piece rsp and rbp
// are as they were noted when it was executed.
//
// Invariant: whatever it is not sure of makes it give up the function, saying why: then the other executor
// executes that one, an instruction at a time (engine_executor.ts).

import { CHANGES_SP, ODD, PUSHES_FP, STORES_FP } from '../arch/checking.ts';
import { callerStack, RETURN_WORD } from './caller_stack.ts';
import { CALLER_FP_LO, ENTRY_SP, isOnStack, STACK_HALF, STACK_LO, TEXT_LO } from './check_layout.ts';
import { type ForkState, TOP } from './fork_stack.ts';
import { hasWays, waysFrom } from './paths.ts';
import { IS_CALL, Piece, PUSHES_RETURN } from './piece.ts';
import { NO_MEMORY, Skips, UNKNOWN_TO_ENGINE } from './step_over.ts';
import { TAPE, TAPE_POINTER, type TapeMachine } from './tape_machine.ts';
import { FP, INACTIVE, SP } from './target.ts';
import { AGAIN, type Executor, GOES_ON, LATER, type Steps, type Walk } from './walk.ts';

/** Bytes below the stack pointer that judging may write to. */
const BELOW = 0x200;

/** Why a function is better executed an instruction at a time. */
type Doubt =
  | 'the return address was written over'
  | 'a saved register was written over'
  | 'a stack operation could not be executed'
  | 'paths disagree on the stack pointer'
  | 'registers other than those noted'
  | 'the stack pointer is not aligned, or left the stack'
  | 'a fault where no instruction is';

export class TapeExecutor implements Executor, Steps {
  /** Of all functions that it did not give up. */
  readonly skips = new Skips();
  doubt: Doubt | undefined;
  /** The stack at the instruction that is visited, and the registers: all of them where a piece begins. */
  readonly words = callerStack();
  readonly halves = new Uint32Array(36);
  /** Another number after any change of `words`. */
  version = 0;
  readonly #template = callerStack();
  readonly #mark: Int32Array;
  #stamp = 0;
  /** Of the function. */
  readonly #skips = new Skips();
  #lowest = 0;
  /** Whether the registers are in the engine still, as the piece before left them. */
  #inEngine = false;
  readonly #machine: TapeMachine;
  readonly #state: ForkState;
  readonly #walk: Walk;
  readonly #needsRegisters: (ip: number) => boolean;
  /** Ways to go later from instructions of the piece. */
  readonly #pending: { readonly item: number; readonly to: number }[] = [];
  readonly #piece: Piece;

  /** `needsRegisters`: whether what is asked at an address hangs on more registers than rsp and rbp. */
  constructor(machine: TapeMachine, walk: Walk, needsRegisters: (ip: number) => boolean) {
    this.#machine = machine;
    this.#state = { registers: machine.state, words: machine.words, followed: this.words };
    this.#walk = walk;
    this.#needsRegisters = needsRegisters;
    this.#mark = new Int32Array(walk.code.count + 1);
    this.#piece = new Piece(machine);
    machine.refill();
  }

  /** What was executed counts: another executor does not do it again. */
  accept(): void {
    this.skips.add(this.#skips);
  }

  get sp(): number {
    return this.halves[SP];
  }

  enter(): void {
    this.#skips.clear();
    this.doubt = undefined;
    this.#inEngine = false;
    const machine = this.#machine;
    machine.refillNear();
    const from = Math.max(0, (this.#lowest - BELOW - STACK_LO) >> 2);
    const fresh = this.#template.subarray(from);
    machine.words.set(fresh, from);
    this.words.set(fresh, from);
    this.version++;
    this.#lowest = ENTRY_SP;
    const { state } = machine;
    for (let i = 0; i < state.length; i += 2) {
      state[i] = TAPE_POINTER;
      state[i + 1] = 0;
    }
    state[SP] = ENTRY_SP;
    state[SP + 1] = STACK_HALF;
    state[FP] = CALLER_FP_LO;
    state[FP + 1] = STACK_HALF;
    this.halves.set(state);
  }

  takeUp(): void {
    this.#walk.forks.pop(this.#state);
    this.#inEngine = false;
    this.version++;
    this.halves.set(this.#machine.state);
  }

  onStack(): boolean {
    if (isOnStack(this.halves) && (this.halves[SP] & 7) === 0) return true;
    this.doubt = 'the stack pointer is not aligned, or left the stack';
    return false;
  }

  advance(insn: number): number {
    const piece = this.#piece;
    const { waiting } = this.#walk.forks;
    this.#forkFrom(insn);
    piece.begin();
    const next = this.#write(insn);
    const executed = piece.hasCode;
    if (executed) {
      piece.end();
      this.#run(insn);
      this.#inEngine = true;
    }
    this.#skips.add(piece.skips);
    const whole = !this.doubt && this.#replay();
    for (const { to } of this.#pending) if (waiting[to] === PENDING) waiting[to] = 0;
    this.#pending.length = 0;
    if (!whole) return 0;
    if (executed) this.#takeStock();
    return this.doubt ? 0 : next;
  }

  /** Nobody has gone there from here, nor waits to. */
  #isNew(to: number, sp: number): boolean {
    if (to === 0) return false;
    if (to >= this.#walk.code.count) return true;
    return this.#walk.forks.waiting[to] !== sp && !this.#walk.visits.has(to, sp);
  }

  #forkFrom(insn: number): void {
    const { code, forks } = this.#walk;
    if (!hasWays(code, insn)) return;
    const sp = this.halves[SP];
    for (const to of waysFrom(code, insn)) {
      if (this.#isNew(to, sp)) forks.push(to, this.#machine.state, 0, this.#state, sp);
    }
  }

  /** Nobody has ever gone there, nor waits to. */
  #isUnseen(to: number): boolean {
    if (to === 0) return false;
    const { code, forks, visits } = this.#walk;
    return to >= code.count || (visits.count[to] === 0 && forks.waiting[to] === 0);
  }

  /** Whether a path has to be kept that nobody has gone or waits to go. */
  #startsPath(insn: number): boolean {
    const { code } = this.#walk;
    return hasWays(code, insn) && waysFrom(code, insn).some((to) => this.#isUnseen(to));
  }

  /** Has the registers kept before the instruction that is written next. */
  #keep(insn: number): void {
    const { code, forks } = this.#walk;
    for (const to of waysFrom(code, insn)) {
      if (!this.#isUnseen(to)) continue;
      if (to < code.count) forks.waiting[to] = PENDING;
      this.#pending.push({ item: this.#piece.count, to });
    }
    this.#piece.keep();
  }

  /** Writes the piece that begins at an instruction; where the path goes on, 0 where it ends. */
  #write(first: number): number {
    const walk = this.#walk;
    const piece = this.#piece;
    const { count: visits } = walk.visits;
    const stamp = ++this.#stamp;
    for (let insn = first; insn !== 0; ) {
      const alone = this.#needsRegisters(walk.ip(insn));
      if (insn !== first || piece.count > 0) {
        if (alone || piece.full || visits[insn] > 0 || this.#mark[insn] === stamp) return insn;
        if (this.#startsPath(insn)) this.#keep(insn);
      }
      const next = walk.step(insn, this);
      if (next === AGAIN) return insn;
      this.#mark[insn] = stamp;
      if (alone || piece.endsOdd) return next;
      insn = walk.real(next);
    }
    return 0;
  }

  pass(insn: number): void {
    this.#piece.add(insn);
  }
  execute(insn: number): typeof GOES_ON | typeof LATER {
    const { text } = this.#walk;
    return this.#piece.addCopy(insn, text.bytes, this.#walk.ip(insn) - TEXT_LO) ? GOES_ON : LATER;
  }
  pushReturn(insn: number): void {
    this.#piece.addPush(insn, this.#walk.behind(insn));
  }
  call(insn: number, next: number): number {
    this.#piece.addCall(insn, next !== 0 && !this.#walk.isFentry(insn));
    return next;
  }
  tailCall(insn: number): number {
    this.#piece.add(insn);
    return 0;
  }
  return(insn: number): number {
    this.#piece.add(insn);
    return 0;
  }

  #run(first: number): void {
    const machine = this.#machine;
    const piece = this.#piece;
    if (machine.run(piece.start, !this.#inEngine)) return;
    // Once more from the same state, so that what fails is known.
    const from = (this.halves[SP] - STACK_LO) >>> 2;
    machine.words.set(this.words.subarray(from), from);
    piece.begin(true);
    for (const { to } of this.#pending) this.#walk.forks.waiting[to] = 0;
    this.#pending.length = 0;
    this.#write(first);
    piece.end();
    for (let ended = machine.run(piece.start, true); !ended; ) {
      const i = piece.itemAt(machine.faultAt);
      if (i < 0) this.doubt = 'a fault where no instruction is';
      else if (piece.effects[i] & (CHANGES_SP | STORES_FP | ODD))
        this.doubt = 'a stack operation could not be executed';
      if (this.doubt) return;
      piece.skips.counts[machine.faultKind === 'undefined instruction' ? UNKNOWN_TO_ENGINE : NO_MEMORY]++;
      ended = machine.resume(TAPE + piece.behind(i));
    }
  }

  /** Visits the instructions of the piece with what was noted. False: the path ends here. */
  #replay(): boolean {
    const { halves } = this;
    const walk = this.#walk;
    const piece = this.#piece;
    const pending = this.#pending;
    let next = 0;
    for (let i = 0; i < piece.count; i++) {
      const insn = piece.insn[i];
      if (i > 0 && !this.onStack()) return false;
      const sp = halves[SP];
      this.#lowest = Math.min(this.#lowest, sp);
      walk.visit(insn, sp);
      if (i > 0 && hasWays(walk.code, insn)) {
        if (next < pending.length && pending[next].item === i) next = this.#forkKept(next, sp);
        this.#agree(insn, sp);
      }
      const effects = piece.effects[i];
      if (effects === 0) continue;
      if (effects & IS_CALL) this.#visitCall(insn, sp);
      if (effects & STORES_FP) this.#keepFp(piece.placeOfStore(i, halves));
      if (effects & PUSHES_FP) this.#keepFp(sp - 8);
      piece.after(i, halves);
      if (effects & PUSHES_RETURN) {
        this.#put(halves[SP], walk.behind(insn), 0xffffffff);
      }
    }
    return true;
  }

  /** The forks of one instruction, from the first of them on; the first of the next one. */
  #forkKept(first: number, sp: number): number {
    const pending = this.#pending;
    const { item } = pending[first];
    const at = this.#machine.keptAt(this.#piece.keptAt(item));
    let next = first;
    for (; next < pending.length && pending[next].item === item; next++) {
      this.#walk.forks.push(pending[next].to, this.#machine.area, at, this.#state, sp);
    }
    return next;
  }

  #visitCall(insn: number, sp: number): void {
    this.#walk.visitor.call(insn);
    // The callee's frame is gone again.
    const end = (sp - STACK_LO) >>> 2;
    for (let i = end - INACTIVE.size / 4; i < end; i++) this.words[i] = this.#machine.words[i];
  }

  /** A way that nobody takes up from here must have been gone, or be waiting, with the same stack pointer. */
  #agree(insn: number, sp: number): void {
    const { code, forks, visits } = this.#walk;
    for (const to of waysFrom(code, insn)) {
      if (to === 0 || forks.waiting[to] === sp || visits.has(to, sp)) continue;
      this.doubt = 'paths disagree on the stack pointer';
    }
  }

  #keepFp(at: number): void {
    this.#put(at, this.halves[FP], this.halves[FP + 1]);
  }

  #put(at: number, low: number, high: number): void {
    const i = (at - STACK_LO) >> 2;
    if (i < 0 || i + 1 >= this.words.length || (at & 7) !== 0) return;
    this.words[i] = low;
    this.words[i + 1] = high;
    this.version++;
  }

  /** Holds what was followed against registers and memory as the piece left them. */
  #takeStock(): void {
    const { halves, words } = this;
    const { state, words: real } = this.#machine;
    if (state[SP] !== halves[SP] || state[FP] !== halves[FP] || state[FP + 1] !== halves[FP + 1]) {
      this.doubt = 'registers other than those noted';
      return;
    }
    halves.set(state);
    if (halves[SP + 1] !== STACK_HALF || halves[SP] < STACK_LO) return;
    let changed = false;
    for (let i = (halves[SP] - STACK_LO) >>> 2; i < TOP; i++) {
      if (real[i] === words[i]) continue;
      if (i === RETURN_WORD) this.doubt = 'the return address was written over';
      else if (words[i] === CALLER_FP_LO) this.doubt = 'a saved register was written over';
      words[i] = real[i];
      changed = true;
    }
    if (changed) this.version++;
  }
}

/** A claim whose stack pointer is not known yet. */
const PENDING = 1;
