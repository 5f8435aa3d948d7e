// Verdicts of a machine that was executed, by function and instruction: of the kernel image, and of ftrace's
// trampolines wherever they were copied to.
//
// Invariant: an instruction has the worst of the verdicts it was given; code of modules is not counted.

import { lo32 } from '../guest/addr.ts';
import type { KernelImage } from '../machine/boot/image.ts';
import type { Machine } from '../machine/machine.ts';
import { FRAMES, INSNS } from './target.ts';
import { countsOf, GRAVITY, notCoveredOf } from './totals.ts';
import type { FunctionReport, ObjectCheck, Verdict } from './verdicts.ts';

/** Functions that a traced call goes through. */
const OF_FTRACE = new Set([
  'ftrace_caller',
  'ftrace_regs_caller',
  'arch_ftrace_ops_list_func',
  'ftrace_stub',
  'klp_ftrace_handler',
]);
const COPY = 'copy of ';
const isOfFtrace = (name: string): boolean => OF_FTRACE.has(name) || name.startsWith(COPY);

interface Text {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Why traces were not reliable, or not the truth: at how many instructions, and one of them. */
export interface Reason {
  readonly why: string;
  readonly verdict: Verdict;
  readonly place: string;
  readonly ofFtrace: boolean;
  instructions: number;
}

export interface LiveReport {
  readonly check: ObjectCheck;
  readonly reasons: readonly Reason[];
}

export class LiveTally {
  readonly #image: KernelImage;
  readonly #functions: readonly Text[];
  /** By function: worst verdict by offset. */
  readonly #verdicts = new Map<string, Map<number, number>>();
  /** By copy of a trampoline: where its instructions begin. */
  readonly #copies = new Map<string, readonly number[]>();
  readonly #reasons = new Map<string, Reason>();

  constructor(image: KernelImage) {
    this.#image = image;
    this.#functions = image.asm.symbols
      .filter((s) => s.section === '.text' && s.size > 0 && (s.type === 'func' || s.type === 'code'))
      .map(({ name, addr, size }) => ({ name, start: lo32(addr), end: lo32(addr) + size }))
      .sort((a, b) => a.start - b.start);
  }

  /** `lo`: low half of the instruction's address on that machine. */
  note(machine: Machine, lo: number, verdict: Verdict, why: string): void {
    const text = this.#textAt(lo >>> 0) ?? this.#copyAt(machine, lo >>> 0);
    if (!text) return;
    const offset = (lo >>> 0) - text.start;
    let offsets = this.#verdicts.get(text.name);
    if (!offsets) {
      offsets = new Map();
      this.#verdicts.set(text.name, offsets);
    }
    const before = offsets.get(offset) ?? 0;
    if (GRAVITY[verdict] <= before) return;
    offsets.set(offset, GRAVITY[verdict]);
    if (verdict === 'right') return;
    const key = `${verdict} ${why} ${isOfFtrace(text.name)}`;
    const known = this.#reasons.get(key);
    const place = `${text.name}+0x${offset.toString(16)}`;
    if (known) known.instructions++;
    else this.#reasons.set(key, { why, verdict, place, ofFtrace: isOfFtrace(text.name), instructions: 1 });
  }

  #textAt(lo: number): Text | undefined {
    let [low, high] = [0, this.#functions.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#functions[middle].start <= lo) low = middle + 1;
      else high = middle;
    }
    const found = this.#functions[low - 1];
    return found && lo < found.end ? found : undefined;
  }

  #copyAt({ inspect: { core, ftrace } }: Machine, lo: number): Text | undefined {
    const found = ftrace.trampolines.at(0xffffffff00000000n | BigInt(lo));
    if (!found) return undefined;
    const template = core.symbols.nameOf(found.template) ?? '?';
    const name = `${COPY}${template} for ${core.symbols.nameOf(ftrace.ops(found.ops).func) ?? '?'}`;
    const start = lo32(found.start);
    if (!this.#copies.has(name)) {
      // The address of the ops lies behind its return.
      const code = core.mem.readBytes(found.start, found.size);
      this.#copies.set(name, starts(code, 0, FRAMES.codeSize(code)));
    }
    return { name, start, end: start + found.size };
  }

  /** Of what a traced call goes through, or of everything else. */
  report(ofFtrace: boolean, missing: string): LiveReport {
    const text = this.#image.asm.sections.find((s) => s.name === '.text');
    const base = lo32(text?.addr ?? 0n);
    const bytes = text?.bytes ?? new Uint8Array(0);
    const functions: FunctionReport[] = [];
    for (const { name, start, end } of this.#functions) {
      if (isOfFtrace(name) !== ofFtrace) continue;
      functions.push(this.#functionReport(name, starts(bytes, start - base, end - base), missing));
    }
    for (const [name, list] of ofFtrace ? this.#copies : [])
      functions.push(this.#functionReport(name, list, missing));
    return {
      check: sumOf(functions),
      reasons: [...this.#reasons.values()].filter((r) => r.ofFtrace === ofFtrace),
    };
  }

  #functionReport(name: string, list: readonly number[], missing: string): FunctionReport {
    const counts = [0, 0, 0, 0];
    const offsets = this.#verdicts.get(name);
    for (const offset of list) counts[offsets?.get(offset) ?? 0]++;
    const [none, right, unreliable, wrong] = counts;
    const report = { name, instructions: list.length, reached: list.length - none, right, unreliable, wrong };
    return none === 0 ? report : { ...report, notCovered: { [missing]: none } };
  }
}

const decoded = INSNS.newInsn();

/** Offsets, from `from`, at which instructions begin. */
function starts(bytes: Uint8Array, from: number, to: number): number[] {
  const list: number[] = [];
  for (let at = from; at < to; ) {
    list.push(at - from);
    at += INSNS.decode(bytes, at, at, decoded).length || 1;
  }
  return list;
}

function sumOf(functions: readonly FunctionReport[]): ObjectCheck {
  return {
    ...countsOf(functions),
    skipped: 0,
    skippedBecause: {},
    notCovered: notCoveredOf(functions),
    places: [],
    omitted: 0,
  };
}
