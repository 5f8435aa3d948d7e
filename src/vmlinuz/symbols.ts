// The symbols of a kernel that has none but its kallsyms: which of them are functions, and how large each is.
// Mirrors nothing: the linker knew it, and what it knew is worked out again.
//
// kallsyms has every symbol in text alike: functions, labels inside of hand-written ones, marks of the linker. A name that
// BTF has as a function's is one; so is one with a prefix of its own, a cold part, a static call's trampoline. Of the few
// that are left, a function begins where the code before it neither runs on into it nor jumps to it. What has no name, as
// a weak function that another one overrides, begins at its call of __fentry__.
//
// Hand-written code to which the fixups of several functions lead is of none of them, and ends the one before it.
//
// Invariant: functions of a section do not overlap, but for those that begin at the same place.

import type { CodeArch } from '../arch/code.ts';
import {
  INSN_BUG,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_NOP,
  INSN_RETURN,
  INSN_TRAP,
} from '../arch/code.ts';
import { type Fixups, fixupsOf } from './fixups.ts';
import type { Kallsyms } from './kallsyms.ts';
import { KERNEL_HALF, type KernelSection, type LinkedKernel } from './linked_kernel.ts';

export const KIND_OBJECT = 0;
export const KIND_FUNCTION = 1;
/** Inside of a function, or where code begins that is of no function. */
export const KIND_LABEL = 2;
/** Of the linker: where something begins or ends. */
export const KIND_MARK = 3;
/** No place in the file: a per-CPU offset, a number. */
export const KIND_ABSOLUTE = 4;

export interface KernelSymbols {
  readonly count: number;
  /** By address, as kallsyms has them. */
  readonly names: Kallsyms;
  /** KIND_* */
  readonly kind: Uint8Array;
  /** Index of the section; 0 for absolute ones. */
  readonly section: Int32Array;
  /** Of functions; 0 for others, which kallsyms says nothing of. */
  readonly size: Uint32Array;
  /** Code in sections that hold data, too. */
  readonly codeInData: readonly CodeRange[];
}

/** By address, low halves. */
export interface CodeRange {
  readonly section: number;
  readonly start: number;
  readonly end: number;
}

/** What the linker script and the headers of sections call where something begins or ends. */
const MARK =
  /^(_[se](text|inittext|exittext)|_text|_end|__\w+_text_(start|end)|__(start|stop)_\w+|__alt_instructions(_end)?|__indirect_thunk_(start|end)|__relocate_kernel_(start|end)|__(init|exit|inittext|smp_locks|parainstructions|iommu_table|apicdrivers)_(begin|start|end)|__(begin|end)_\w+)$/;
/** What compilers put behind the name of a function that they split off or made of another one. */
const SUFFIX = /\.(cold|constprop|isra|part|llvm|lto_priv|\d).*$/;
/** Prefixes that stand for something before a function, which is as long as it is before that. */
const PREFIX = /^__(pfx|cfi)_/;
/** Trampolines of static calls; Rust. */
const ALWAYS = /^(__SCT__|_R[A-Z])/;

/** @param functions what the kernel's types have as functions' names; undefined where it has no types */
export function symbolsOf(
  kernel: LinkedKernel,
  names: Kallsyms,
  code: CodeArch,
  functions: ReadonlySet<string> | undefined,
): KernelSymbols {
  return new SymbolSizes(kernel, names, code, functions).symbols();
}

class SymbolSizes {
  readonly #kernel: LinkedKernel;
  readonly #names: Kallsyms;
  readonly #code: CodeArch;
  readonly #functions: ReadonlySet<string> | undefined;
  /** Of symbols in code. */
  readonly #text: string[] = [];
  readonly #kind: Uint8Array;
  readonly #section: Int32Array;
  readonly #size: Uint32Array;
  readonly #codeInData: readonly CodeRange[];
  readonly #fixups: Fixups;
  #fixupPlaces: readonly number[] | undefined;
  /** Names that are there with a prefix. */
  readonly #prefixed = new Set<string>();

  constructor(
    kernel: LinkedKernel,
    names: Kallsyms,
    code: CodeArch,
    functions: ReadonlySet<string> | undefined,
  ) {
    this.#kernel = kernel;
    this.#names = names;
    this.#code = code;
    this.#functions = functions;
    this.#kind = new Uint8Array(names.count);
    this.#section = new Int32Array(names.count);
    this.#size = new Uint32Array(names.count);
    this.#codeInData = codeInData(kernel);
    this.#fixups = fixupsOf(kernel);
  }

  symbols(): KernelSymbols {
    const { count, low, high } = this.#names;
    const code: number[] = [];
    for (let i = 0; i < count; i++) {
      const section = high[i] === KERNEL_HALF ? this.#sectionOf(low[i]) : undefined;
      this.#section[i] = section?.index ?? 0;
      if (!section) this.#kind[i] = KIND_ABSOLUTE;
      else if (this.#isCode(section, low[i])) code.push(i);
    }
    for (const i of code) {
      const name = this.#names.name(i);
      this.#text[i] = name;
      if (PREFIX.test(name)) this.#prefixed.add(name.replace(PREFIX, ''));
    }
    this.#findFunctions(code);
    this.#findSizes(code);
    return {
      count,
      names: this.#names,
      kind: this.#kind,
      section: this.#section,
      size: this.#size,
      codeInData: this.#codeInData,
    };
  }

  /** The end of one, where nothing begins, is its own. */
  #sectionOf(address: number): KernelSection | undefined {
    return this.#kernel.at(address) ?? this.#kernel.at(address - 1);
  }

  #isCode({ isText, isWritable, index }: KernelSection, address: number): boolean {
    if (!isText) return false;
    if (!isWritable) return true;
    return this.#codeInData.some(
      ({ section, start, end }) => section === index && address >= start && address < end,
    );
  }

  #findFunctions(code: readonly number[]): void {
    const { low } = this.#names;
    let before = -1;
    for (const i of code) {
      this.#kind[i] = this.#kindOf(i, this.#text[i], before);
      const isStart = this.#kind[i] === KIND_FUNCTION;
      if (isStart && (before < 0 || low[i] !== low[before])) before = i;
    }
  }

  #kindOf(i: number, name: string, before: number): number {
    if (this.#isNamedAsOne(name)) return KIND_FUNCTION;
    if (MARK.test(name)) return KIND_MARK;
    const { low } = this.#names;
    const isAlone = before < 0 || this.#section[before] !== this.#section[i];
    if (isAlone || low[before] === low[i]) return KIND_FUNCTION;
    if (this.#fixups.get(low[i])?.some((from) => from < low[before])) return KIND_LABEL;
    // Hand-written functions are aligned; a label is only where it happens to be.
    const isAligned = low[i] % ALIGNMENT === 0;
    if (isAligned && !this.#functions) return KIND_FUNCTION;
    if (name.startsWith('.') || (name.endsWith('_end') && !isAligned)) return KIND_LABEL;
    const { runs, jumps } = this.#waysInto(low[before], low[i]);
    // Where fixups lead before it, what follows up to it is code, and no filling.
    if (!isAligned && this.#isFixupBetween(low[before], low[i])) return KIND_LABEL;
    return runs || (jumps && !isAligned) ? KIND_LABEL : KIND_FUNCTION;
  }

  #isFixupBetween(start: number, end: number): boolean {
    this.#fixupPlaces ??= [...this.#fixups.keys()].sort((a, b) => a - b);
    const at = firstAbove(this.#fixupPlaces, (place) => place > start);
    return at < this.#fixupPlaces.length && this.#fixupPlaces[at] < end;
  }

  #isNamedAsOne(name: string): boolean {
    if (ALWAYS.test(name) || PREFIX.test(name) || this.#prefixed.has(name)) return true;
    return this.#functions?.has(name) === true || (SUFFIX.test(name) && !name.startsWith('.'));
  }

  /** Where code begins that fixups of other functions lead to, within none of C's. `functions`: by address. */
  #sharedFixups(functions: readonly number[]): number[] {
    const { low } = this.#names;
    const ownerOf = (address: number): number =>
      functions[firstAbove(functions, (i) => low[i] > address) - 1];
    return [...this.#fixups].flatMap(([to, sources]) => {
      const owner = ownerOf(to);
      if (owner === undefined || low[owner] === to) return [];
      // A function and what was split off from it are one.
      const family = this.#text[owner].replace(SUFFIX, '');
      return sources.some((from) => this.#text[ownerOf(from)]?.replace(SUFFIX, '') !== family) ? [to] : [];
    });
  }

  /** Whether code from a place on runs into another one, or has a jump to it. */
  #waysInto(from: number, to: number): { readonly runs: boolean; readonly jumps: boolean } {
    const bytes = this.#kernel.read(from, to - from);
    if (!bytes) return { runs: false, jumps: false };
    const decoder = this.#code.decoder();
    let last = INSN_RETURN;
    let isFilled = false;
    let jumps = false;
    for (let at = 0; at < bytes.length; ) {
      decoder.decode(bytes, at);
      // What is no instruction is not run through.
      if (decoder.length === 0) {
        last = INSN_RETURN;
        at++;
        continue;
      }
      const { type } = decoder;
      isFilled = type === INSN_NOP || type === INSN_TRAP;
      if (type === INSN_TRAP || !isFilled) last = type;
      if ((type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL) && decoder.target === bytes.length)
        jumps = true;
      at += decoder.length;
    }
    const isCall = last === INSN_CALL || last === INSN_CALL_DYNAMIC;
    return { runs: !(ENDS.has(last) || (isCall && isFilled)), jumps };
  }

  /** Starts of functions that have no name, by address; of those that have one, too. */
  #tracedStarts(): Uint32Array {
    const [start, stop] = ['__start_mcount_loc', '__stop_mcount_loc'].map((name) => this.#addressOf(name));
    if (start === undefined || stop === undefined || stop <= start) return new Uint32Array(0);
    const bytes = this.#kernel.read(start, stop - start);
    if (!bytes) return new Uint32Array(0);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const starts = new Uint32Array(Math.floor(bytes.length / 8));
    for (let i = 0; i < starts.length; i++) {
      const site = view.getUint32(8 * i, true);
      const section = site === 0 ? undefined : this.#kernel.at(site);
      if (!section?.isText) continue;
      starts[i] = section.start + this.#code.functionStart(this.#kernel.data(section), site - section.start);
    }
    return starts;
  }

  #addressOf(name: string): number | undefined {
    const { count, high, low } = this.#names;
    for (let i = count - 1; i >= 0; i--)
      if (high[i] === KERNEL_HALF && this.#names.name(i) === name) return low[i];
    return undefined;
  }

  #findSizes(code: readonly number[]): void {
    const { low } = this.#names;
    const functions = code.filter((i) => this.#kind[i] === KIND_FUNCTION);
    const unnamedStarts = Uint32Array.from([
      ...this.#tracedStarts(),
      ...this.#sharedFixups(functions),
    ]).sort();
    let unnamed = unnamedStarts.length - 1;
    let next = -1;
    for (let k = code.length - 1; k >= 0; k--) {
      const i = code[k];
      if (this.#kind[i] !== KIND_FUNCTION) continue;
      if (next >= 0 && low[next] === low[i]) {
        this.#size[i] = this.#size[next];
        continue;
      }
      const section = this.#kernel.sections[this.#section[i]];
      const isSame = next >= 0 && this.#section[next] === section.index;
      let end = isSame ? low[next] : this.#endOf(section, low[i]);
      for (; unnamed >= 0 && unnamedStarts[unnamed] > low[i]; unnamed--)
        end = Math.min(end, unnamedStarts[unnamed]);
      this.#size[i] = this.#sizeOf(low[i], end, section, this.#text[i]);
      next = i;
    }
  }

  #endOf({ index, end }: KernelSection, address: number): number {
    const range = this.#codeInData.find(
      (one) => one.section === index && address >= one.start && address < one.end,
    );
    return range?.end ?? end;
  }

  #sizeOf(start: number, end: number, section: KernelSection, name: string): number {
    if (PREFIX.test(name)) return end - start;
    const bytes = this.#kernel.data(section);
    const from = start - section.start;
    return end - start - this.#code.fillingBefore(bytes, from, end - section.start);
  }
}

/** Of a sorted list, how many come before the first one of which it is true. */
function firstAbove(list: readonly number[], isAbove: (one: number) => boolean): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAbove(list[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

const ALIGNMENT = 16;
const ENDS: ReadonlySet<number> = new Set([
  INSN_RETURN,
  INSN_JUMP,
  INSN_JUMP_DYNAMIC,
  INSN_CONTEXT_SWITCH,
  INSN_BUG,
  INSN_TRAP,
]);

/** Sections that may be written and executed hold both; what of them the ORC table speaks of is code. */
export function codeInData(kernel: LinkedKernel): CodeRange[] {
  const mixed = kernel.loaded.filter(({ isText, isWritable }) => isText && isWritable);
  const table = kernel.section('.orc_unwind_ip');
  if (mixed.length === 0 || !table || table.start === 0) return [];
  const data = kernel.data(table);
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  return mixed.flatMap((section) => {
    let [start, end] = [section.end, section.start];
    for (let at = 0; at + 4 <= data.length; at += 4) {
      const ip = (table.start + at + view.getInt32(at, true)) >>> 0;
      if (ip < section.start || ip > section.end) continue;
      start = Math.min(start, ip);
      end = Math.max(end, ip);
    }
    return start < end ? [{ section: section.index, start, end }] : [];
  });
}
