// Executes what a walk comes to in the engine, an instruction at a time.
//
// What a pointer of nobody's writes over on the stack is put back: no real execution of the function does that.
//
// Invariant: the state of the path is in the guest: its context's registers and its stack.

import { BY_FP, BY_SP, type CheckedInsn, INTERRUPT, NO_STORE } from '../arch/checking.ts';
import type { StopKind } from '../guest/engine.ts';
import {
  IN_ALTS,
  INSN_JUMP_CONDITIONAL,
  INSN_RETURN,
  OP_POP,
  OP_POP_OTHER,
  opKind,
} from '../objtool/insn.ts';
import { CallDestinations } from './call_destinations.ts';
import {
  BLOCK,
  CALLER_FP_LO,
  CALLER_LO,
  type CheckGuest,
  ENTRY_SP,
  isOnStack,
  POINTER,
  STACK_HALF,
  STACK_LO,
  TEXT_BASE,
  TEXT_LO,
} from './check_guest.ts';
import { areUsers, CALLED, makeUsers, OTHER_STACK, putRegisters, REGS_AT } from './entered.ts';
import type { ForkState } from './fork_stack.ts';
import { isBeyond, isHeld, type LiveFrame, MAX_DEPTH, OUTERMOST, withoutInnermost } from './live_frames.ts';
import { CALLER_SAVED } from './paths.ts';
import { type Effects, type QuickAnswers, QuickWalk } from './quick_walk.ts';
import { loadSaved, SavedWords } from './saved_registers.ts';
import { putLong } from './stack_words.ts';
import { NO_MEMORY, Skips, UNKNOWN_TO_ENGINE } from './step_over.ts';
import { FP, INSNS, PC, REGISTERS, SP, TARGET } from './target.ts';
import type { Executor, Steps, Walk } from './walk.ts';

/** Bytes that an array takes whose size is not known. */
const ARRAY = 64;
/** Repetitions of a string instruction that code may have set, and how often it is repeated where nobody did. */
const [MOST_REPETITIONS, REPETITIONS] = [0x1000, 8];
const RETURN = (ENTRY_SP - STACK_LO) >>> 2;
const registerOf = (name: string): number => REGISTERS.ofPtRegs[TARGET.ptRegs.words.indexOf(name)] ?? 0;
/** Low half of what it gives back. */
const RESULT = 2 * registerOf(TARGET.ptRegs.result);
/** Low half of what a function is given first. */
const ARGUMENT = 2 * registerOf(TARGET.ptRegs.args[0]);
const POINTER_LO = Number(POINTER);
/** Text of nobody's caller. */
const ELSEWHERE = CALLER_LO + 0x300;
const TEXT_HALF_WORD = 0xffffffff;
const NO_FRAMES: readonly LiveFrame[] = [];

export class EngineExecutor implements Executor, Steps, Effects {
  readonly skips = new Skips();
  /** Calls that the path followed, the innermost last. */
  frames: readonly LiveFrame[] = NO_FRAMES;
  /** The stack and the registers at the instruction that is visited. */
  readonly words: Uint32Array;
  readonly halves: Uint32Array;
  /** How the function is entered that is explored. */
  entered = CALLED;
  /** Of a function: whether its table speaks of registers. */
  hasRegisters: (func: number) => boolean = () => false;
  #lowest = ENTRY_SP;
  readonly #guest: CheckGuest;
  readonly #walk: Walk;
  readonly #state: ForkState;
  readonly #insn = INSNS.newInsn();
  readonly #saved = new SavedWords();
  readonly #destinations: CallDestinations;
  readonly #quick: QuickWalk | undefined;

  /** `into`: calls within the object are followed too, not only stepped over. */
  constructor(guest: CheckGuest, walk: Walk, into = false) {
    const { words, context } = guest;
    this.#guest = guest;
    this.words = words;
    this.halves = context.halves;
    this.#walk = walk;
    this.#state = { registers: context.halves, words };
    this.#destinations = new CallDestinations(walk, into);
    const { straightRun } = guest.engine;
    this.#quick = straightRun && new QuickWalk(guest, walk, straightRun, this);
  }

  /** Of the function that is explored: what need not be asked. */
  set answers(answers: QuickAnswers | undefined) {
    if (this.#quick) this.#quick.answers = answers;
  }

  advanceQuickly(insn: number): number {
    return this.#quick ? this.#quick.follow(insn) : insn;
  }

  get hasFrames(): boolean {
    return this.frames.length > 0;
  }

  get sp(): number {
    return this.halves[SP];
  }

  enter(): void {
    this.#guest.prepare(Math.min(this.#lowest, this.#quick?.lowest ?? this.#lowest));
    const { entered } = this;
    this.#lowest = entered.sp;
    if (this.#quick) this.#quick.lowest = entered.sp;
    if (entered.how !== 'called') {
      putRegisters(this.words, entered);
      this.#lowest = Math.min(entered.sp, REGS_AT);
    }
    this.frames = NO_FRAMES;
    const { context } = this.#guest;
    context.regs.fill(POINTER, 0, REGISTERS.general);
    const { halves } = context;
    halves[SP] = entered.sp;
    halves[SP + 1] = STACK_HALF;
    loadSaved(halves);
    context.regs[REGISTERS.flags] = REGISTERS.flagsAtEntry;
    context.touch();
  }

  takeUp(): void {
    const { forks } = this.#walk;
    this.frames = forks.lastFrames;
    forks.pop(this.#state);
    this.#guest.context.touch();
  }

  onStack(): boolean {
    if (isOnStack(this.#guest.context.halves)) return true;
    if (this.#switchesStack()) return true;
    this.#walk.ends.deadEnds.add('stack pointer left the stack');
    return false;
  }

  /** Entry code takes another stack from memory: an empty one, or where what it copies from the old one goes. */
  #switchesStack(): boolean {
    const { context } = this.#guest;
    const { how } = this.entered;
    if (how === 'called' || context.halves[SP + 1] === STACK_HALF) return false;
    if (how !== 'first on its stack') makeUsers(this.words);
    context.halves[SP] = how === 'first on its stack' ? ENTRY_SP : OTHER_STACK;
    context.halves[SP + 1] = STACK_HALF;
    context.touch();
    return true;
  }

  /** Nobody of the kernel called it, and nobody was interrupted. */
  get hasNoCaller(): boolean {
    const { how } = this.entered;
    if (how === 'called' || this.frames.length > 0) return false;
    return how === 'first on its stack' || areUsers(this.words);
  }

  advance(insn: number): number {
    const walk = this.#walk;
    const { sp } = this;
    if (sp < this.#lowest) this.#lowest = sp;
    if (walk.code.type[insn] === INSN_RETURN) this.#returnToText();
    walk.visit(insn, sp);
    this.#forkFrom(insn);
    return walk.step(insn, this);
  }

  /** A thunk puts where it goes in the place of its return address: what it was given is an address of text then. */
  #returnToText(): void {
    const { context, words } = this.#guest;
    const at = (context.halves[SP] - STACK_LO) >>> 2;
    if (words[at] === POINTER_LO && words[at + 1] === 0)
      putLong(words, context.halves[SP], ELSEWHERE, 0xffffffff);
  }

  execute(insn: number): boolean {
    const { text } = this.#walk;
    const { context, engine } = this.#guest;
    const { halves } = context;
    const ip = this.#walk.ip(insn);
    const at = (ip - TEXT_LO) >>> 0;
    const decoded = INSNS.decode(text.bytes, at, ip, this.#insn);
    const why = INSNS.skipped(decoded);
    if (why >= 0) {
      if (why === INTERRUPT || engine.cannot(why)) return this.#stepOver(decoded, why);
      this.#limit(decoded);
    }
    const strays = this.#strays(decoded);
    const sp = halves[SP];
    halves[PC] = ip;
    halves[PC + 1] = 0xffffffff;
    const stop = engine.step(context, decoded, text.bytes, at, TEXT_BASE);
    if (stop !== undefined && !this.stopped(insn, decoded, stop, why)) return false;
    // An array on the stack that was indexed by a number of nobody's, a list in the frame that links to nowhere.
    if (strays) this.#saved.putBack(this.#guest.words);
    this.executed(insn, decoded, sp);
    return true;
  }

  executed(insn: number, decoded: CheckedInsn, sp: number): void {
    const { halves } = this;
    if (halves[SP] !== sp && INSNS.makesRoom(decoded)) this.#makeRoom(sp);
    if (halves[SP] > sp) this.#noteDropped(insn, sp);
    this.#putReturnsBack();
  }

  /** Where it may write over what is the caller's, that is noted first. */
  #strays(insn: CheckedInsn): boolean {
    const { context, words } = this.#guest;
    const store = INSNS.storesOn(insn, context.halves, STACK_HALF);
    if (store === NO_STORE) return false;
    if (store === BY_SP || (store === BY_FP && this.hasFrame())) return false;
    this.#saved.note(words, context.halves[SP]);
    this.#lowest = STACK_LO;
    return true;
  }

  /** A string instruction is not repeated by a number of nobody's. */
  #limit(insn: CheckedInsn): void {
    const counter = INSNS.counter(insn);
    if (counter < 0) return;
    const { regs } = this.#guest.context;
    if (regs[counter] > MOST_REPETITIONS) regs[counter] = BigInt(REPETITIONS);
  }

  #stepOver(insn: CheckedInsn, why: number): true {
    this.skips.counts[why]++;
    const taken = INSNS.takesOff(insn);
    if (taken === 0) return true;
    const { context } = this.#guest;
    context.halves[SP] += taken;
    context.touch();
    return true;
  }

  /** One that the engine could not execute. False: the path ends there. */
  stopped(insn: number, decoded: CheckedInsn, stop: StopKind, why = -1): boolean {
    if (this.#walk.code.opCode[insn] !== 0 && !this.#withoutMemory(decoded)) return false;
    const other = stop === 'undefined instruction' ? UNKNOWN_TO_ENGINE : NO_MEMORY;
    this.skips.counts[why < 0 ? other : why]++;
    return true;
  }

  /** Nor is an array on the stack as large as a number of nobody's. */
  #makeRoom(sp: number): void {
    const { context } = this.#guest;
    if (isOnStack(context.halves)) return;
    context.halves[SP] = sp - ARRAY;
    context.halves[SP + 1] = STACK_HALF;
    context.touch();
  }

  /**
   * A return address that the stack pointer has passed, and that is in no register and nowhere further up, is nobody's:
   * the frame is gone without a return. One that was popped is somewhere, and what a return was turned to has none of its own.
   */
  #noteDropped(insn: number, before: number): void {
    const { halves, words } = this;
    const frame = this.frames.at(-1) ?? OUTERMOST;
    if (halves[SP] < frame.sp || before >= frame.sp) return;
    if (this.entered !== CALLED || !isOnStack(halves)) return;
    const op = opKind(this.#walk.code.opCode[insn]);
    if (op === OP_POP || op === OP_POP_OTHER || isHeld(frame, halves, words)) return;
    this.frames = withoutInnermost(this.frames);
  }

  #putReturnsBack(): void {
    const { words } = this.#guest;
    if (!isBeyond(this.frames)) {
      words[RETURN] = CALLER_LO + 0x200;
      words[RETURN + 1] = 0xffffffff;
    }
    if (this.frames.length === 0) return;
    for (const { sp, returnIp } of this.frames) putLong(words, sp - 8, returnIp, 0xffffffff);
  }

  /** Whether rbp is a frame pointer: it points to the caller's. */
  hasFrame(): boolean {
    const { context, words } = this.#guest;
    const at = (context.halves[FP] - STACK_LO) >> 2;
    return context.halves[FP + 1] === STACK_HALF && words[at] === CALLER_FP_LO;
  }

  /** An instruction on the stack whose other operand is nowhere: its part of the stack alone. */
  #withoutMemory(insn: CheckedInsn): boolean {
    const { context } = this.#guest;
    const delta = INSNS.deltaAlone(insn);
    if (delta === undefined) {
      this.#walk.ends.deadEnds.add('no memory for a stack operation');
      return false;
    }
    if (delta !== 0) {
      context.halves[SP] += delta;
      context.touch();
    }
    return true;
  }

  /** Over the call, and with calls followed first into it: the way over is gone after that. */
  call(insn: number, next: number): number {
    const { context } = this.#guest;
    this.#walk.visitor.call(insn);
    const inside = this.#insideOf(insn);
    if (inside !== 0) {
      this.pushReturn(insn);
      return inside;
    }
    const callee = this.frames.length < MAX_DEPTH ? this.#destinations.callee(insn, this.frames) : 0;
    if (callee === 0) {
      this.called(insn);
      return next;
    }
    const { halves } = context;
    const halvesAtCall = halves.slice();
    this.called(insn);
    this.fork(next);
    halves.set(halvesAtCall);
    const sp = halves[SP];
    this.pushReturn(insn);
    const returnIp = this.#walk.behind(insn);
    const func = this.#walk.code.callDest[insn];
    const [fpLow, fpHigh] = [halves[FP], halves[FP + 1]];
    this.frames = [...this.frames, { returnIp, sp, fpLow, fpHigh, next, func }];
    return callee;
  }

  /** Where a call goes to that is executed as it is; 0 for others. */
  #insideOf(insn: number): number {
    const inside = this.#destinations.insideReplacement(insn);
    if (inside !== 0 || this.entered.how === 'called') return inside;
    return this.#destinations.leavesRegisters(insn, this.hasRegisters);
  }

  tailCall(insn: number): number {
    if (this.entered.how !== 'called' && this.#walk.ends.isForeign(insn)) {
      this.called(insn);
      return this.return();
    }
    return this.#destinations.callee(insn, this.frames);
  }

  return(): number {
    const frame = this.frames.at(-1);
    const { context } = this.#guest;
    if (this.entered.how !== 'called') return this.#returnAsItIs();
    // A path that lost its stack is no return to there.
    if (!frame || context.halves[SP] !== frame.sp - 8) return 0;
    this.frames = this.frames.slice(0, -1);
    context.halves[SP] = frame.sp;
    context.touch();
    return frame.next;
  }

  /** To where the stack says; 0 where that is none of the text under check. */
  #returnAsItIs(): number {
    const { context, words } = this.#guest;
    const { halves } = context;
    const at = (halves[SP] - STACK_LO) >>> 2;
    if (halves[SP + 1] !== STACK_HALF || words[at + 1] !== TEXT_HALF_WORD) return 0;
    const next = this.#walk.insnAt(words[at]);
    if (next === 0) return 0;
    halves[SP] += 8;
    context.touch();
    return next;
  }

  /** What a callee leaves: nothing known in the registers that it need not save. */
  called(insn: number): void {
    if (this.#walk.isFentry(insn)) return;
    const { context } = this.#guest;
    const { halves } = context;
    // What entry code gives the address of its registers to may move them, and says where they are: where they were.
    const hasRegisters = this.entered.how !== 'called' && halves[ARGUMENT + 1] === STACK_HALF;
    const registers = halves[ARGUMENT];
    for (let i = 0; i < CALLER_SAVED.length; i++) {
      halves[2 * CALLER_SAVED[i]] = BLOCK;
      halves[2 * CALLER_SAVED[i] + 1] = 0;
    }
    if (hasRegisters) {
      halves[RESULT] = registers;
      halves[RESULT + 1] = STACK_HALF;
    }
    context.touch();
  }

  pushReturn(insn: number): void {
    const { context, words } = this.#guest;
    const sp = context.halves[SP] - 8;
    context.halves[SP] = sp;
    putLong(words, sp, this.#walk.behind(insn), 0xffffffff);
    context.touch();
  }

  /** Keeps the state for where else a path goes on from an instruction, before anything of it was executed. */
  #forkFrom(insn: number): void {
    const { flags, type, alts, jumpDest } = this.#walk.code;
    if (flags[insn] & IN_ALTS) for (const to of alts.get(insn) ?? []) this.fork(to);
    if (type[insn] === INSN_JUMP_CONDITIONAL) this.fork(jumpDest[insn]);
  }

  fork(to: number): void {
    if (to === 0) return;
    const { code, visits, forks } = this.#walk;
    const { sp } = this;
    if (to < code.count && visits.has(to, sp)) return;
    forks.push(to, this.#state, this.frames);
  }
}
