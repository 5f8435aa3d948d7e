// Drives execution through every instruction of a function, a straight piece at a run.
//
// A piece ends where a path has to be taken up again later (all registers and the stack are kept there), where
// it has been before, and before what cannot be followed by what is noted on the tape. Within a piece rsp and rbp
// are as they were noted when it was executed.
//
// Invariant: whatever it is not sure of makes it give up the function, saying why: then another explorer
// executes that one, an instruction at a time (explore.ts).

import { REG } from '../arch/x86_64/context.ts';
import type { Code } from '../objtool/insn.ts';
import * as insns from '../objtool/insn.ts';
import { INACTIVE_FRAME_SIZE } from '../unwind/ports.ts';
import { callerStack, RETURN_WORD } from './caller_stack.ts';
import { CALLER_BP_LO, DEEPEST_SP, ENTRY_SP, STACK_HALF, STACK_LO, TEXT_LO } from './check_layout.ts';
import { CHANGES_SP, ODD, PUSHES_BP, STORES_BP } from './effects.ts';
import { ForkStack, TOP } from './fork_stack.ts';
import type { LoadedText } from './loaded_text.ts';
import {
  afterReplacement,
  fentrySymbols,
  hasWays,
  MAX_VISITS,
  PathEnds,
  type Visitor,
  waysFrom,
} from './paths.ts';
import { IS_CALL, Piece, PUSHES_RETURN } from './piece.ts';
import { NO_MEMORY, Skips, UNKNOWN_TO_ENGINE } from './step_over.ts';
import { TAPE, TAPE_POINTER, type TapeMachine } from './tape_machine.ts';

const SP = 2 * REG.rsp;
const BP = 2 * REG.rbp;
/** Bytes below the stack pointer that judging may write to. */
const BELOW = 0x200;

/** Why a function is better executed an instruction at a time. */
export type Doubt =
  | 'the return address was written over'
  | 'a saved register was written over'
  | 'a stack operation could not be executed'
  | 'paths disagree on the stack pointer'
  | 'registers other than those noted'
  | 'the stack pointer is not aligned, or left the stack'
  | 'a fault where no instruction is';

export class TapeExplorer {
  readonly visits: Uint8Array;
  /** Of all functions that it did not give up. */
  readonly skips = new Skips();
  readonly ends: PathEnds;
  doubt: Doubt | undefined;
  /** The stack at the instruction that is visited, and the registers: all of them where a piece begins. */
  readonly words = callerStack();
  readonly halves = new Uint32Array(36);
  /** Another number after any change of `words`. */
  version = 0;
  readonly #template = callerStack();
  readonly #seen: Int32Array;
  /** By instruction: stack pointer of a fork that waits for it. */
  readonly #claim: Int32Array;
  readonly #mark: Int32Array;
  #stamp = 0;
  /** Of the function. */
  readonly #skips = new Skips();
  #lowest = 0;
  readonly #machine: TapeMachine;
  readonly #code: Code;
  readonly #text: LoadedText;
  readonly #visitor: Visitor;
  readonly #needsRegisters: (ip: number) => boolean;
  readonly #forks = new ForkStack();
  /** Ways to go later from instructions of the piece. */
  readonly #pending: { readonly item: number; readonly to: number }[] = [];
  readonly #fentry: ReadonlySet<number>;
  readonly #piece: Piece;

  /** `needsRegisters`: whether what is asked at an address hangs on more registers than rsp and rbp. */
  constructor(
    machine: TapeMachine,
    code: Code,
    text: LoadedText,
    visitor: Visitor,
    needsRegisters: (ip: number) => boolean,
  ) {
    this.#machine = machine;
    this.#code = code;
    this.#text = text;
    this.#visitor = visitor;
    this.#needsRegisters = needsRegisters;
    this.visits = new Uint8Array(code.count + 1);
    this.#seen = new Int32Array((code.count + 1) * MAX_VISITS);
    this.#claim = new Int32Array(code.count + 1);
    this.#mark = new Int32Array(code.count + 1);
    this.#fentry = fentrySymbols(code);
    this.ends = new PathEnds(code);
    this.#piece = new Piece(machine);
    machine.refill();
  }

  /** From a function's entry. False: `doubt` says why it gave up. */
  explore(func: number): boolean {
    const { symbols } = this.#code.input;
    const entry = this.#code.at(symbols.section[func], symbols.value[func]);
    if (entry === 0) return true;
    this.ends.begin(func);
    this.#skips.clear();
    this.doubt = undefined;
    this.#enter();
    this.#follow(entry);
    const forks = this.#forks;
    const { state, words } = this.#machine;
    while (forks.count > 0 && !this.doubt) {
      const last = forks.insnAt(forks.count - 1);
      this.#claim[last] = 0;
      if (this.#visited(last, forks.lastSp)) {
        forks.drop();
        continue;
      }
      forks.pop(state, words, this.words);
      this.version++;
      this.halves.set(state);
      this.#follow(last);
    }
    if (this.doubt) for (let i = 0; i < forks.count; i++) this.#claim[forks.insnAt(i)] = 0;
    forks.clear();
    this.ends.takeBack(this.visits);
    return !this.doubt;
  }

  /** What was executed counts: another explorer does not do it again. */
  accept(): void {
    this.skips.add(this.#skips);
  }

  #enter(): void {
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
    state[BP] = CALLER_BP_LO;
    state[BP + 1] = STACK_HALF;
    this.halves.set(state);
  }

  #visited(insn: number, sp: number): boolean {
    const count = this.visits[insn];
    for (let i = 0; i < count; i++) if (this.#seen[insn * MAX_VISITS + i] === sp) return true;
    return count >= MAX_VISITS;
  }

  #follow(from: number): void {
    const { halves } = this;
    const piece = this.#piece;
    let loaded = true;
    for (let insn = from; insn !== 0; ) {
      if (insn >= this.#code.count) {
        insn = afterReplacement(this.#code, insn);
        continue;
      }
      if (this.#visited(insn, halves[SP])) return;
      if (!this.#onStack()) return;
      this.#forkFrom(insn);
      piece.begin();
      const next = this.#write(insn);
      const executed = piece.hasCode;
      if (executed) {
        piece.end();
        this.#run(insn, loaded);
        loaded = false;
      }
      this.#skips.add(piece.skips);
      const whole = !this.doubt && this.#replay();
      for (const { to } of this.#pending) if (this.#claim[to] === PENDING) this.#claim[to] = 0;
      this.#pending.length = 0;
      if (!whole) return;
      if (executed) this.#takeStock();
      if (this.doubt) return;
      insn = next;
    }
  }

  #onStack(): boolean {
    const { halves } = this;
    const sp = halves[SP];
    if (halves[SP + 1] === STACK_HALF && sp >= DEEPEST_SP && sp <= ENTRY_SP + 8 && (sp & 7) === 0)
      return true;
    this.doubt = 'the stack pointer is not aligned, or left the stack';
    return false;
  }

  #forkFrom(insn: number): void {
    if (!hasWays(this.#code, insn)) return;
    const { state, words } = this.#machine;
    const sp = this.halves[SP];
    for (const to of waysFrom(this.#code, insn)) {
      if (to === 0) continue;
      if (to < this.#code.count) {
        if (this.#claim[to] === sp || this.#visited(to, sp)) continue;
        this.#claim[to] = sp;
      }
      this.#forks.push(to, state, 0, sp, words, this.words);
    }
  }

  /** Whether a path has to be kept that nobody has gone or waits to go. */
  #startsPath(insn: number): boolean {
    if (!hasWays(this.#code, insn)) return false;
    for (const to of waysFrom(this.#code, insn)) {
      if (to >= this.#code.count || (to !== 0 && this.visits[to] === 0 && this.#claim[to] === 0)) return true;
    }
    return false;
  }

  /** Has the registers kept before the instruction that is written next. */
  #keep(insn: number): void {
    for (const to of waysFrom(this.#code, insn)) {
      if (to === 0 || (to < this.#code.count && (this.visits[to] > 0 || this.#claim[to] !== 0))) continue;
      if (to < this.#code.count) this.#claim[to] = PENDING;
      this.#pending.push({ item: this.#piece.count, to });
    }
    this.#piece.keep();
  }

  /** Writes the piece that begins at an instruction; where the path goes on, 0 where it ends. */
  #write(first: number): number {
    const code = this.#code;
    const piece = this.#piece;
    const stamp = ++this.#stamp;
    for (let insn = first; insn !== 0; ) {
      if (insn >= code.count) {
        insn = afterReplacement(code, insn);
        continue;
      }
      const alone = this.#needsRegisters(this.#ip(insn));
      if (insn !== first || piece.count > 0) {
        if (alone || piece.full || this.visits[insn] > 0 || this.#mark[insn] === stamp) return insn;
        if (this.#startsPath(insn)) this.#keep(insn);
      }
      const next = this.#writeOne(insn);
      if (next < 0) return insn;
      this.#mark[insn] = stamp;
      if (alone || piece.endsOdd) return next;
      insn = next;
    }
    return 0;
  }

  /** Where the path goes on; -1 if it must not be in this piece. */
  #writeOne(insn: number): number {
    const code = this.#code;
    const piece = this.#piece;
    const dead = (code.flags[insn] & insns.IN_DEAD_END) !== 0;
    switch (code.type[insn]) {
      case insns.INSN_RETURN:
      case insns.INSN_CONTEXT_SWITCH:
      case insns.INSN_TRAP:
        piece.add(insn);
        return 0;
      case insns.INSN_JUMP_DYNAMIC:
        this.ends.jumpSomewhere(insn);
        piece.add(insn);
        return 0;
      case insns.INSN_CALL:
      case insns.INSN_CALL_DYNAMIC:
        piece.addCall(insn, !dead && !this.#fentry.has(code.callDest[insn]));
        return dead ? 0 : this.ends.next(insn);
      case insns.INSN_JUMP: {
        const dest = code.jumpDest[insn];
        if (dest === 0 || code.opCode[insn] === 0) piece.add(insn);
        else piece.addPush(insn, this.#ip(insn) + code.length[insn]);
        return dest;
      }
      case insns.INSN_JUMP_CONDITIONAL:
      case insns.INSN_JUMP_DYNAMIC_CONDITIONAL:
      case insns.INSN_NOP:
        piece.add(insn);
        return this.ends.next(insn);
      default:
        if (dead || code.type[insn] === insns.INSN_BUG) {
          piece.add(insn);
          return dead ? 0 : this.ends.next(insn);
        }
        if (!piece.addCopy(insn, this.#text.bytes, this.#ip(insn) - TEXT_LO)) return -1;
        return this.ends.next(insn);
    }
  }

  #ip(insn: number): number {
    return this.#text.start[this.#code.section[insn]] + this.#code.offset[insn];
  }

  #run(first: number, loaded: boolean): void {
    const machine = this.#machine;
    const piece = this.#piece;
    if (machine.run(piece.start, loaded)) return;
    // Once more from the same state, so that what fails is known.
    const from = (this.halves[SP] - STACK_LO) >>> 2;
    machine.words.set(this.words.subarray(from), from);
    piece.begin(true);
    for (const { to } of this.#pending) this.#claim[to] = 0;
    this.#pending.length = 0;
    this.#write(first);
    piece.end();
    for (let ended = machine.run(piece.start, true); !ended; ) {
      const i = piece.itemAt(machine.faultAt);
      if (i < 0) this.doubt = 'a fault where no instruction is';
      else if (piece.effects[i] & (CHANGES_SP | STORES_BP | ODD))
        this.doubt = 'a stack operation could not be executed';
      if (this.doubt) return;
      piece.skips.counts[machine.faultKind === 'undefined instruction' ? UNKNOWN_TO_ENGINE : NO_MEMORY]++;
      ended = machine.resume(TAPE + piece.behind(i));
    }
  }

  /** Visits the instructions of the piece with what was noted. False: the path ends here. */
  #replay(): boolean {
    const { halves } = this;
    const piece = this.#piece;
    const pending = this.#pending;
    let next = 0;
    for (let i = 0; i < piece.count; i++) {
      const insn = piece.insn[i];
      if (i > 0 && !this.#onStack()) return false;
      const sp = halves[SP];
      this.#lowest = Math.min(this.#lowest, sp);
      if (this.visits[insn] < MAX_VISITS) {
        this.#seen[insn * MAX_VISITS + this.visits[insn]++] = sp;
        this.ends.visit(insn);
      }
      this.#visitor.at(insn);
      if (i > 0 && hasWays(this.#code, insn)) {
        if (next < pending.length && pending[next].item === i) next = this.#forkKept(next, sp);
        this.#agree(insn, sp);
      }
      const effects = piece.effects[i];
      if (effects === 0) continue;
      if (effects & IS_CALL) this.#visitCall(insn, sp);
      if (effects & STORES_BP) this.#keepBp(piece.placeOfStore(i, halves));
      if (effects & PUSHES_BP) this.#keepBp(sp - 8);
      piece.after(i, halves);
      if (effects & PUSHES_RETURN) {
        this.#put(halves[SP], this.#ip(insn) + this.#code.length[insn], 0xffffffff);
      }
    }
    return true;
  }

  /** The forks of one instruction, from the first of them on; the first of the next one. */
  #forkKept(first: number, sp: number): number {
    const pending = this.#pending;
    const { item } = pending[first];
    const at = this.#machine.keptAt(this.#piece.keptAt(item));
    const { area, words } = this.#machine;
    let next = first;
    for (; next < pending.length && pending[next].item === item; next++) {
      const { to } = pending[next];
      this.#claim[to] = sp;
      this.#forks.push(to, area, at, sp, words, this.words);
    }
    return next;
  }

  #visitCall(insn: number, sp: number): void {
    this.#visitor.call(insn);
    // The callee's frame is gone again.
    const end = (sp - STACK_LO) >>> 2;
    for (let i = end - INACTIVE_FRAME_SIZE / 4; i < end; i++) this.words[i] = this.#machine.words[i];
  }

  /** A way that nobody takes up from here must have been gone, or be waiting, with the same stack pointer. */
  #agree(insn: number, sp: number): void {
    for (const to of waysFrom(this.#code, insn)) {
      if (to === 0 || this.#claim[to] === sp || this.#visited(to, sp)) continue;
      this.doubt = 'paths disagree on the stack pointer';
    }
  }

  #keepBp(at: number): void {
    this.#put(at, this.halves[BP], this.halves[BP + 1]);
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
    if (state[SP] !== halves[SP] || state[BP] !== halves[BP] || state[BP + 1] !== halves[BP + 1]) {
      this.doubt = 'registers other than those noted';
      return;
    }
    halves.set(state);
    if (halves[SP + 1] !== STACK_HALF || halves[SP] < STACK_LO) return;
    let changed = false;
    for (let i = (halves[SP] - STACK_LO) >>> 2; i < TOP; i++) {
      if (real[i] === words[i]) continue;
      if (i === RETURN_WORD) this.doubt = 'the return address was written over';
      else if (words[i] === CALLER_BP_LO) this.doubt = 'a saved register was written over';
      words[i] = real[i];
      changed = true;
    }
    if (changed) this.version++;
  }
}

/** A claim whose stack pointer is not known yet. */
const PENDING = 1;
