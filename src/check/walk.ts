// Drives execution along every path of a function: what comes after an instruction, where paths part, and where one
// has been before. Conditional branches go both ways, jump tables everywhere; calls are stepped over with the ABI's
// effects. What executes is beneath it (engine_executor.ts).
//
// Invariant: an instruction is executed once for each stack pointer that paths bring there, at most as often as
// `visits` allows; which ways there are is the code's to say, not the executor's.

import type { Code } from '../objtool/insn.ts';
import * as insns from '../objtool/insn.ts';
import { ForkStack } from './fork_stack.ts';
import type { LoadedText } from './loaded_text.ts';
import { afterReplacement, fentrySymbols, PathEnds, type Visitor } from './paths.ts';
import { Visits } from './visits.ts';

/** What executes beneath a walk. */
export interface Executor {
  /** Low half of the stack pointer. */
  readonly sp: number;
  /** Takes on the state of a function's entry. */
  enter(): void;
  /** Takes the last fork off the store, and its state on. */
  takeUp(): void;
  /** Whether the stack pointer is where a path can go on; says why not. */
  onStack(): boolean;
  /** Visits and executes instructions about which nothing is to be asked: the first that is another, 0 where the path ends. */
  advanceQuickly(insn: number): number;
  /** Visits and executes an instruction; where the path goes on, 0 where it ends. */
  advance(insn: number): number;
}

/** What an executor does with one instruction, by what comes after it. */
export interface Steps {
  /** False: the path ends there. */
  execute(insn: number): boolean;
  /** A jump within the function that leaves a return address, as a call does. */
  pushReturn(insn: number): void;
  /** `next`: the instruction returned to, 0 for none. Where the path goes on. */
  call(insn: number, next: number): number;
  /** A jump out of the function. Where the path goes on, as with a return. */
  tailCall(insn: number): number;
  return(insn: number): number;
}

export interface WalkOptions {
  /** Words of the registers that a fork keeps. */
  readonly registerWords: number;
  readonly mostVisits: number;
  /** Paths in other functions are this one's too, as where calls are followed. */
  readonly into?: boolean;
}

export class Walk {
  readonly code: Code;
  readonly text: LoadedText;
  readonly visitor: Visitor;
  readonly visits: Visits;
  readonly ends: PathEnds;
  readonly forks: ForkStack;
  /** By symbol. */
  readonly #isFentry: Uint8Array;
  readonly #into: boolean;

  constructor(code: Code, text: LoadedText, visitor: Visitor, options: WalkOptions) {
    this.code = code;
    this.text = text;
    this.visitor = visitor;
    this.visits = new Visits(code.count + 1, options.mostVisits);
    this.ends = new PathEnds(code);
    this.forks = new ForkStack(options.registerWords);
    this.#isFentry = new Uint8Array(code.input.symbols.count);
    for (const symbol of fentrySymbols(code)) this.#isFentry[symbol] = 1;
    this.#into = options.into ?? false;
  }

  /** From a function's entry. */
  explore(func: number, executor: Executor): void {
    const { symbols } = this.code.input;
    this.ends.begin(func);
    const entry = this.code.at(symbols.section[func], symbols.value[func]);
    if (entry === 0) return;
    executor.enter();
    this.#follow(entry, executor);
    const { forks } = this;
    while (forks.count > 0) {
      const insn = forks.last;
      if (this.visits.has(insn, forks.lastSp)) {
        forks.drop();
        continue;
      }
      executor.takeUp();
      this.#follow(insn, executor);
    }
    this.ends.takeBack(this.visits.count);
  }

  #follow(from: number, executor: Executor): void {
    for (let insn = from; insn !== 0; ) {
      insn = this.real(executor.advanceQuickly(insn));
      if (insn === 0 || this.visits.has(insn, executor.sp) || !executor.onStack()) return;
      insn = executor.advance(insn);
    }
  }

  /** Behind the no-ops that fill up a replacement, where it is one of those. */
  real(insn: number): number {
    let found = insn;
    while (found >= this.code.count) found = afterReplacement(this.code, found);
    return found;
  }

  visit(insn: number, sp: number): void {
    if (this.visits.note(insn, sp) && !this.#into) this.ends.visit(insn);
    this.visitor.at(insn);
  }

  /** One instruction. Where the path goes on: 0 where it ends. */
  step(insn: number, steps: Steps): number {
    const { code, ends } = this;
    const dead = (code.flags[insn] & insns.IN_DEAD_END) !== 0;
    switch (code.type[insn]) {
      case insns.INSN_RETURN:
        return steps.return(insn);
      case insns.INSN_CALL:
      case insns.INSN_CALL_DYNAMIC:
        return steps.call(insn, dead ? 0 : ends.next(insn));
      case insns.INSN_JUMP:
        return this.#jump(insn, steps);
      case insns.INSN_JUMP_DYNAMIC:
        ends.jumpSomewhere(insn);
        return 0;
      case insns.INSN_CONTEXT_SWITCH:
      case insns.INSN_TRAP:
        return 0;
      case insns.INSN_JUMP_CONDITIONAL:
      case insns.INSN_JUMP_DYNAMIC_CONDITIONAL:
      case insns.INSN_NOP:
        return ends.next(insn);
      case insns.INSN_BUG:
        return dead ? 0 : ends.next(insn);
      default:
        return !dead && steps.execute(insn) ? ends.next(insn) : 0;
    }
  }

  #jump(insn: number, steps: Steps): number {
    const dest = this.code.jumpDest[insn];
    if (dest === 0) return steps.tailCall(insn);
    if (this.code.opCode[insn] !== 0) steps.pushReturn(insn);
    return dest;
  }

  /** Whether a call leaves all registers alone. */
  isFentry(insn: number): boolean {
    return this.#isFentry[this.code.callDest[insn]] !== 0;
  }

  /** Low half of an instruction's address, signed: an integer that needs no room of its own. */
  ip(insn: number): number {
    return (this.text.start[this.code.section[insn]] + this.code.offset[insn]) | 0;
  }
  /** The instruction at an address (low half); 0 for none. */
  insnAt(ip: number): number {
    const address = ip >>> 0;
    const { sections } = this.code.input;
    const index = sections.findIndex(({ bytes }, i) => {
      const start = this.text.start[i];
      return start !== 0 && address >= start && address < start + bytes.length;
    });
    return index < 0 ? 0 : this.code.at(index, address - this.text.start[index]);
  }
  /** Low half of the address behind it, signed. */
  behind(insn: number): number {
    return (this.ip(insn) + this.code.length[insn]) | 0;
  }
}
