// Drives execution through every instruction of a function that a path leads to.
// Conditional branches go both ways, jump tables everywhere, calls are stepped over with the ABI's effects;
// everything else is executed by the engine.
//
// Invariant: an instruction is executed once for each stack pointer that paths bring there, at most
// MAX_VISITS times: loops end, and paths that disagree on the stack are all looked at.

import { REG } from '../arch/x86_64/context.ts';
import { decodeAt, Insn } from '../isa/decoder.ts';
import type { Code } from '../objtool/insn.ts';
import * as insns from '../objtool/insn.ts';
import {
  CALLER_BP_LO,
  CALLER_LO,
  type CheckGuest,
  DEEPEST_SP,
  ENTRY_SP,
  POINTER,
  STACK_HALF,
  STACK_LO,
  TEXT_LO,
} from './check_guest.ts';
import { accessesElsewhere, baseOf } from './effects.ts';
import { type LiveFrame, MAX_DEPTH } from './live_frames.ts';
import type { LoadedText } from './loaded_text.ts';
import {
  afterReplacement,
  CALLER_SAVED,
  fentrySymbols,
  MAX_VISITS,
  PathEnds,
  type Visitor,
} from './paths.ts';
import { loadSaved, SavedWords } from './saved_registers.ts';
import { putLong } from './stack_words.ts';
import { isPopf, NO_MEMORY, Skips, UNKNOWN_TO_ENGINE, whySteppedOver } from './step_over.ts';

const SP = 2 * REG.rsp;
/** Bytes that an array takes whose size is not known. */
const ARRAY = 64;
const NO_FRAMES: readonly LiveFrame[] = [];
/** Each depth has stack pointers of its own. */
const MAX_VISITS_INTO = 8;

/** Where a path goes on later, with what it found there. */
interface Fork {
  readonly insn: number;
  readonly halves: Uint32Array;
  readonly stack: Uint32Array;
  readonly frames: readonly LiveFrame[];
}

export class Explorer {
  readonly visits: Uint8Array;
  readonly skips = new Skips();
  readonly ends: PathEnds;
  readonly #seen: Int32Array;
  readonly #guest: CheckGuest;
  readonly #code: Code;
  readonly #text: LoadedText;
  readonly #visitor: Visitor;
  readonly #forks: Fork[] = [];
  readonly #insn = new Insn();
  readonly #saved = new SavedWords();
  readonly #fentry: ReadonlySet<number>;
  readonly #into: boolean;
  readonly #maxVisits: number;
  /** Calls that the path followed, the innermost last. */
  frames: readonly LiveFrame[] = NO_FRAMES;

  /** `into`: calls within the object are followed too, not only stepped over. */
  constructor(guest: CheckGuest, code: Code, text: LoadedText, visitor: Visitor, into = false) {
    this.#guest = guest;
    this.#code = code;
    this.#text = text;
    this.#visitor = visitor;
    this.visits = new Uint8Array(code.count + 1);
    this.#into = into;
    this.#maxVisits = into ? MAX_VISITS_INTO : MAX_VISITS;
    this.#seen = new Int32Array((code.count + 1) * this.#maxVisits);
    this.#fentry = fentrySymbols(code);
    this.ends = new PathEnds(code);
  }

  /** From a function's entry. */
  explore(func: number): void {
    const { symbols } = this.#code.input;
    const entry = this.#code.at(symbols.section[func], symbols.value[func]);
    if (entry === 0) return;
    this.ends.begin(func);
    this.#enter();
    this.#follow(entry);
    for (let fork = this.#forks.pop(); fork; fork = this.#forks.pop()) {
      const { context, words } = this.#guest;
      if (this.#visited(fork.insn, fork.halves[SP])) continue;
      context.halves.set(fork.halves);
      words.set(fork.stack, (fork.halves[SP] - STACK_LO) >>> 2);
      this.frames = fork.frames;
      context.touch();
      this.#follow(fork.insn);
    }
    this.ends.takeBack(this.visits);
  }

  #enter(): void {
    this.#guest.prepare();
    this.frames = NO_FRAMES;
    const { context } = this.#guest;
    context.regs.fill(POINTER, 0, 16);
    const { halves } = context;
    halves[SP] = ENTRY_SP;
    halves[SP + 1] = STACK_HALF;
    loadSaved(halves);
    context.regs[REG.rflags] = 2n;
    context.touch();
  }

  #visited(insn: number, sp: number): boolean {
    const count = this.visits[insn];
    for (let i = 0; i < count; i++) if (this.#seen[insn * this.#maxVisits + i] === sp) return true;
    return count >= this.#maxVisits;
  }

  #follow(from: number): void {
    const code = this.#code;
    const { halves } = this.#guest.context;
    for (let insn = from; insn !== 0; ) {
      // The no-ops that fill up a replacement.
      if (insn >= code.count) {
        insn = afterReplacement(code, insn);
        continue;
      }
      const sp = halves[SP];
      if (this.#visited(insn, sp)) return;
      if (!this.#onStack()) {
        this.ends.deadEnds.add('stack pointer left the stack');
        return;
      }
      this.#seen[insn * this.#maxVisits + this.visits[insn]++] = sp;
      if (!this.#into) this.ends.visit(insn);
      this.#visitor.at(insn);
      if (code.flags[insn] & insns.IN_ALTS) for (const to of code.alts.get(insn) ?? []) this.#fork(to);
      insn = this.#step(insn);
    }
  }

  #onStack(): boolean {
    const { halves } = this.#guest.context;
    return halves[SP + 1] === STACK_HALF && halves[SP] >= DEEPEST_SP && halves[SP] <= ENTRY_SP + 8;
  }

  /** Executes one instruction; where the path goes on, 0 where it ends. */
  #step(insn: number): number {
    const code = this.#code;
    const dest = code.jumpDest[insn];
    const dead = (code.flags[insn] & insns.IN_DEAD_END) !== 0;
    switch (code.type[insn]) {
      case insns.INSN_RETURN:
        return this.#return();
      case insns.INSN_CONTEXT_SWITCH:
      case insns.INSN_TRAP:
        return 0;
      case insns.INSN_CALL:
      case insns.INSN_CALL_DYNAMIC:
        this.#visitor.call(insn);
        return this.#callFrom(insn, dead);
      case insns.INSN_JUMP:
        if (dest === 0) return this.#calleeOf(insn);
        if (code.opCode[insn] !== 0) this.#pushReturn(insn);
        return dest;
      case insns.INSN_JUMP_CONDITIONAL:
        this.#fork(dest);
        return this.ends.next(insn);
      case insns.INSN_JUMP_DYNAMIC:
        this.ends.jumpSomewhere(insn);
        return 0;
      case insns.INSN_JUMP_DYNAMIC_CONDITIONAL:
      case insns.INSN_NOP:
        return this.ends.next(insn);
      case insns.INSN_BUG:
        return dead ? 0 : this.ends.next(insn);
      default:
        return dead || !this.#execute(insn) ? 0 : this.ends.next(insn);
    }
  }

  #execute(insn: number): boolean {
    const code = this.#code;
    const { context, engine, words } = this.#guest;
    const at = this.#text.start[code.section[insn]] + code.offset[insn];
    const decoded = decodeAt(this.#text.bytes, at - TEXT_LO, at, this.#insn);
    const why = whySteppedOver(decoded);
    if (why >= 0) {
      this.skips.counts[why]++;
      if (isPopf(decoded)) {
        context.halves[SP] += 8;
        context.touch();
      }
      return true;
    }
    context.halves[2 * REG.rip] = at;
    context.halves[2 * REG.rip + 1] = 0xffffffff;
    const strays = accessesElsewhere(decoded) || (baseOf(decoded) === REG.rbp && !this.#hasFrame());
    if (strays) this.#saved.note(words, context.halves[SP]);
    const sp = context.halves[SP];
    const stop = engine.run(context, 1);
    if (stop.kind !== 'budget' || stop.executed !== 1) {
      if (code.opCode[insn] !== 0 && !this.#withoutMemory(decoded)) return false;
      this.skips.counts[stop.kind === 'undefined instruction' ? UNKNOWN_TO_ENGINE : NO_MEMORY]++;
    }
    // An array on the stack that was indexed by a number of nobody's, a list in the frame that links to nowhere.
    if (strays) this.#saved.putBack(words);
    // Nor is an array on the stack as large as a number of nobody's.
    if (isSubOfRegister(decoded) && !this.#onStack()) {
      context.halves[SP] = sp - ARRAY;
      context.halves[SP + 1] = STACK_HALF;
      context.touch();
    }
    const ret = (ENTRY_SP - STACK_LO) >>> 2;
    words[ret] = CALLER_LO + 0x200;
    words[ret + 1] = 0xffffffff;
    for (const { sp, returnIp } of this.frames) {
      putLong(words, sp - 8, returnIp, 0xffffffff);
    }
    return true;
  }

  /** Whether rbp is a frame pointer: it points to the caller's. */
  #hasFrame(): boolean {
    const { context, words } = this.#guest;
    const at = (context.halves[2 * REG.rbp] - STACK_LO) >> 2;
    return context.halves[2 * REG.rbp + 1] === STACK_HALF && words[at] === CALLER_BP_LO;
  }

  /** An instruction on the stack whose other operand is nowhere: its part of the stack alone. */
  #withoutMemory(insn: Insn): boolean {
    const { context } = this.#guest;
    const intoRsp = insn.reg === REG.rsp && insn.opcode === 0x8b;
    if (!insn.hasModrm || intoRsp) {
      this.ends.deadEnds.add('no memory for a stack operation');
      return false;
    }
    // push of memory
    if (insn.opcode === 0xff && (insn.reg & 7) === 6) {
      context.halves[SP] -= 8;
      context.touch();
    }
    return true;
  }

  /** Over the call, and with calls followed first into it: the way over is gone after that. */
  #callFrom(insn: number, dead: boolean): number {
    const { context } = this.#guest;
    const next = dead ? 0 : this.ends.next(insn);
    const callee = this.frames.length < MAX_DEPTH ? this.#calleeOf(insn) : 0;
    if (callee === 0) {
      this.#called(insn);
      return next;
    }
    const { halves } = context;
    const halvesAtCall = halves.slice();
    this.#called(insn);
    this.#fork(next);
    halves.set(halvesAtCall);
    const sp = halves[SP];
    this.#pushReturn(insn);
    const returnIp = this.#returnOf(insn);
    const func = this.#code.callDest[insn];
    const [bpLow, bpHigh] = [halves[2 * REG.rbp], halves[2 * REG.rbp + 1]];
    this.frames = [...this.frames, { returnIp, sp, bpLow, bpHigh, next, func }];
    return callee;
  }

  /** First instruction of the function of this object that is called; 0 where calls are not followed, or in a circle. */
  #calleeOf(insn: number): number {
    const { callDest, input } = this.#code;
    const func = callDest[insn];
    if (!this.#into || func === 0 || this.#fentry.has(func)) return 0;
    if (this.frames.some((frame) => frame.func === func)) return 0;
    const section = input.symbols.section[func];
    return section === 0 || !input.sections[section]?.text
      ? 0
      : this.#code.at(section, input.symbols.value[func]);
  }

  #return(): number {
    const frame = this.frames.at(-1);
    const { context } = this.#guest;
    // A path that lost its stack is no return to there.
    if (!frame || context.halves[SP] !== frame.sp - 8) return 0;
    this.frames = this.frames.slice(0, -1);
    context.halves[SP] = frame.sp;
    context.touch();
    return frame.next;
  }

  /** What a callee leaves: nothing known in the registers that it need not save. */
  #called(insn: number): void {
    if (this.#fentry.has(this.#code.callDest[insn])) return;
    const { context } = this.#guest;
    for (const reg of CALLER_SAVED) context.regs[reg] = POINTER;
    context.touch();
  }

  /** Low half of the address behind a call. */
  #returnOf(insn: number): number {
    const { section, offset, length } = this.#code;
    return this.#text.start[section[insn]] + offset[insn] + length[insn];
  }

  #pushReturn(insn: number): void {
    const { context, words } = this.#guest;
    const sp = context.halves[SP] - 8;
    context.halves[SP] = sp;
    putLong(words, sp, this.#returnOf(insn), 0xffffffff);
    context.touch();
  }

  #fork(to: number): void {
    if (to === 0) return;
    const { context, words } = this.#guest;
    const sp = context.halves[SP];
    if (to < this.#code.count && this.#visited(to, sp)) return;
    const from = (sp - STACK_LO) >>> 2;
    const stack = words.slice(from, ((ENTRY_SP - STACK_LO) >>> 2) + 4);
    this.#forks.push({ insn: to, halves: context.halves.slice(), stack, frames: this.frames });
  }
}

/** sub %register, %rsp */
function isSubOfRegister({ opcode, mod, reg, rm }: Insn): boolean {
  if (mod !== 3) return false;
  return (opcode === 0x29 && rm === REG.rsp) || (opcode === 0x2b && reg === REG.rsp);
}
