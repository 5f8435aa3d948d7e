// At which instructions frame pointers alone would be wrong if the code were interrupted there or had called
// from there, why, and on which rule for reliable stack traces it depends that this does no harm.
// The rules are those of the kernel's Documentation/livepatch/reliable-stacktrace.rst.
//
// Invariant: where a frame stands is seen in the registers and on the stack while the code executes; only the
// order of before and after is taken from the code's graph.

import type { Code } from '../objtool/insn.ts';
import * as insns from '../objtool/insn.ts';
import { placeName } from '../objtool/insn.ts';
import {
  CALLER_FP_LO,
  CALLER_LO,
  type CheckGuest,
  ENTRY_SP,
  STACK_HALF,
  STACK_LO,
  TEXT_LO,
} from './check_guest.ts';
import { FP_ELSEWHERE, FP_SAVED } from './frame_classes.ts';
import type { LoadedText } from './loaded_text.ts';
import { FP, INSNS, SP } from './target.ts';
import type { FrameClass, FrameRange, FrameReport, Stand, Verdict } from './verdicts.ts';

/** What was seen at an instruction, on whichever path. */
const FRAMED = 1;
const BARE = 2;
const PUSHED = 4;
const OTHER = 8;
const WRONG = 16;
const WRONG_CALL = 32;
const RIGHT = 64;
const REWRITES = 128;
/** A wrong call during which the trace is called reliable. */
const UNNOTICED = 256;

export class FrameMap {
  readonly #guest: CheckGuest;
  readonly #code: Code;
  readonly #text: LoadedText;
  readonly #seen: Uint16Array;
  readonly #insn = INSNS.newInsn();

  constructor(guest: CheckGuest, code: Code, text: LoadedText) {
    this.#guest = guest;
    this.#code = code;
    this.#text = text;
    this.#seen = new Uint16Array(code.count + 1);
  }

  /** At an instruction, its state in the guest's context; the verdict of the frame pointer unwinder there. */
  note(insn: number, stand: Stand, verdict: Verdict): void {
    const seen = this.#seen;
    if (stand === 'called') {
      if (verdict !== 'right') seen[insn] |= WRONG_CALL;
      if (verdict === 'wrong, declared reliable') seen[insn] |= UNNOTICED;
      return;
    }
    seen[insn] |= verdict === 'right' ? RIGHT : WRONG;
    seen[insn] |= this.#frame();
    if (this.#rewritesReturn(insn)) seen[insn] |= REWRITES;
  }

  #frame(): number {
    const { words, context } = this.#guest;
    const { halves } = context;
    const isCallerFp = (at: number): boolean => words[at] === CALLER_FP_LO && words[at + 1] === STACK_HALF;
    const sp = halves[SP];
    const fp = halves[FP];
    if (halves[FP + 1] !== STACK_HALF || (fp & 7) !== 0) return OTHER;
    if (fp === CALLER_FP_LO) {
      for (let at = sp; at < ENTRY_SP; at += 8) if (isCallerFp((at - STACK_LO) >>> 2)) return PUSHED;
      return BARE;
    }
    const at = (fp - STACK_LO) >>> 2;
    return isCallerFp(at) && words[at + 2] >>> 0 === CALLER_LO + 0x200 ? FRAMED : OTHER;
  }

  #rewritesReturn(insn: number): boolean {
    const code = this.#code;
    const at = this.#text.start[code.section[insn]] + code.offset[insn];
    const decoded = INSNS.decode(this.#text.bytes, at - TEXT_LO, at, this.#insn);
    return INSNS.storesAt(decoded, this.#guest.context.halves, STACK_HALF) === ENTRY_SP;
  }

  /** The call to ftrace at a function's start, before any frame. */
  isFentry(insn: number): boolean {
    const { type, callDest, input } = this.#code;
    return type[insn] === insns.INSN_CALL && input.symbols.name(callDest[insn]) === '__fentry__';
  }

  /** `list`: the instructions of a function, its cold part among them. */
  report(func: number, list: readonly number[]): FrameReport {
    const { symbols } = this.#code.input;
    const classes = this.#classes(list);
    const reached = list.filter((insn) => this.#seen[insn] & (RIGHT | WRONG));
    const isRight = (insn: number): boolean => (this.#seen[insn] & WRONG) === 0;
    const calls = list.filter((insn) => this.#seen[insn] & WRONG_CALL);
    return {
      name: symbols.name(func),
      instructions: reached.length,
      interrupted: reached.filter(isRight).length,
      ranges: this.#ranges(list, classes),
      calls: calls.map((insn) => ({
        offset: this.#code.offset[insn] - symbols.value[func],
        noticed: (this.#seen[insn] & UNNOTICED) === 0,
      })),
      fentry: list.some((insn) => this.isFentry(insn)),
    };
  }

  /** Code that belongs to no function: the unwinder cannot know its frames by the compiler's rules. */
  outside(): FrameRange[] {
    const { count, func, type, section, input } = this.#code;
    const classes = new Map<number, FrameClass>();
    for (let insn = 1; insn < count; insn++) {
      const isFiller = type[insn] === insns.INSN_NOP || type[insn] === insns.INSN_TRAP;
      if (func[insn] !== 0 || isFiller || !input.sections[section[insn]]?.text) continue;
      if (!input.sections[section[insn]].replacement) classes.set(insn, 'code that is no function');
    }
    return this.#ranges([...classes.keys()], classes);
  }

  #classes(list: readonly number[]): Map<number, FrameClass> {
    const framed = list.filter((insn) => this.#seen[insn] & FRAMED);
    const inside = new Set(list);
    const after = this.#reach(framed, inside, (insn) => this.#successors(insn));
    const preceding = this.#predecessors(list, inside);
    const before = this.#reach(framed, inside, (insn) => preceding.get(insn) ?? []);
    const classes = new Map<number, FrameClass>();
    for (const insn of list) {
      const found = this.#classOf(insn, framed.length > 0, before.has(insn), after.has(insn));
      if (found) classes.set(insn, found);
    }
    return classes;
  }

  #classOf(insn: number, hasFrame: boolean, before: boolean, after: boolean): FrameClass | undefined {
    const code = this.#code;
    const seen = this.#seen[insn];
    if (seen & REWRITES) return 'the return address is written over';
    if (code.type[insn] === insns.INSN_JUMP && code.opCode[insn] !== 0 && seen)
      return 'a return address that nothing returns to';
    if (!(seen & WRONG)) return undefined;
    if (seen & OTHER) return FP_ELSEWHERE;
    if (seen & PUSHED) return hasFrame ? FP_SAVED : 'no frame in this function';
    if (!hasFrame) return 'no frame in this function';
    if (after) return 'the frame is given up';
    return before ? 'before the frame is made' : 'a path without a frame';
  }

  #reach(
    from: readonly number[],
    inside: ReadonlySet<number>,
    next: (insn: number) => number[],
  ): Set<number> {
    const found = new Set<number>();
    const queue = [...from];
    for (let insn = queue.pop(); insn !== undefined; insn = queue.pop()) {
      for (const to of next(insn)) {
        if (!inside.has(to) || found.has(to)) continue;
        found.add(to);
        queue.push(to);
      }
    }
    return found;
  }

  #successors(insn: number): number[] {
    const code = this.#code;
    const type = code.type[insn];
    const next: number[] = [...(code.alts.get(insn) ?? [])];
    if (code.jumpDest[insn] !== 0) next.push(code.jumpDest[insn]);
    const ends = type === insns.INSN_RETURN || type === insns.INSN_JUMP || type === insns.INSN_JUMP_DYNAMIC;
    if (!ends && !(code.flags[insn] & insns.IN_DEAD_END)) next.push(insns.nextInSection(code, insn));
    return next;
  }

  #predecessors(list: readonly number[], inside: ReadonlySet<number>): Map<number, number[]> {
    const preceding = new Map<number, number[]>();
    for (const insn of list) {
      for (const to of this.#successors(insn)) {
        if (!inside.has(to)) continue;
        const known = preceding.get(to);
        if (known) known.push(insn);
        else preceding.set(to, [insn]);
      }
    }
    return preceding;
  }

  /** Instructions of one class that follow each other, as offsets from the function. */
  #ranges(list: readonly number[], classes: ReadonlyMap<number, FrameClass>): FrameRange[] {
    const { input, section, offset, length } = this.#code;
    const { symbols } = input;
    const ranges: { -readonly [K in keyof FrameRange]: FrameRange[K] }[] = [];
    let last = 0;
    for (const insn of list) {
      const why = classes.get(insn);
      const range = ranges.at(-1);
      const follows = last === insn - 1 && section[last] === section[insn];
      if (why && range?.why === why && follows) {
        range.to += length[insn];
        range.instructions++;
      } else if (why) {
        const owner = this.#code.func[insn];
        const [label, at] = owner === 0 ? placeName(this.#code, insn).split('+') : [];
        const name = label ?? symbols.name(owner);
        const from = at === undefined ? offset[insn] - symbols.value[owner] : Number(at);
        ranges.push({ function: name, from, to: from + length[insn], instructions: 1, why });
      }
      if (why) last = insn;
    }
    return ranges;
  }
}
