// Instructions of every text section, and which function each belongs to.
// Mirrors decode_instructions() of tools/objtool/check.c and read_symbols() of elf.c.

import type { CodeArch } from '../arch/code.ts';
import { CodeColumns } from './code_columns.ts';
import {
  BIND_LOCAL,
  type CodeSection,
  type ObjtoolInput,
  type RelocTable,
  SYM_FILE,
  SYM_FUNC,
  SYM_SECTION,
  type SymbolTable,
} from './input.ts';
import {
  type AltGroup,
  type Code,
  IN_DEAD_END,
  IN_LAST,
  INSN_BUG,
  INSN_CALL,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_OTHER,
  MAX_WARNINGS,
  type Undecoded,
} from './insn.ts';

/** Instead of a relocation: a jump of a replacement, whose destination does not stand in it. */
export const DESTINATION_KNOWN = -1;

export class CodeTable implements Code {
  readonly input: ObjtoolInput;
  count = 1;
  readonly section: Uint32Array;
  readonly offset: Int32Array;
  readonly length: Uint8Array;
  readonly type: Uint8Array;
  readonly flags: Uint16Array;
  readonly func: Int32Array;
  readonly opCode: Int32Array;
  readonly opOffset: Int32Array;
  readonly jumpDest: Int32Array;
  readonly callDest: Int32Array;
  readonly cfi: Int32Array;
  readonly alts = new Map<number, number[]>();
  readonly altGroups = new Map<number, AltGroup>();
  readonly firstOf: Int32Array;
  readonly endOf: Int32Array;
  readonly parent: Int32Array;
  readonly cold: Int32Array;
  readonly entry: Uint8Array;
  readonly funcs: number[] = [];
  readonly warnings: string[] = [];
  readonly undecoded: Undecoded[] = [];
  steps = 0;
  /**
   * One more than the relocation of each branch, in its section's table; 0 for none. Until destinations are
   * found, `jumpDest` of a branch is the offset that its displacement gives.
   */
  readonly reloc: Int32Array;
  readonly #arch: CodeArch;
  readonly #columns: CodeColumns;
  readonly #starting: Int32Array;
  /** By section: where its bytes are in `starting`, and how many. */
  readonly #base: Int32Array;
  readonly #size: Int32Array;

  constructor(input: ObjtoolInput) {
    this.input = input;
    this.#arch = input.arch;
    const { sections, symbols } = input;
    this.#base = new Int32Array(sections.length);
    this.#size = new Int32Array(sections.length);
    let bytes = 0;
    sections.forEach((section, i) => {
      if (!section.text) return;
      this.#base[i] = bytes;
      this.#size[i] = section.bytes.length;
      bytes += section.bytes.length;
    });
    // At most an instruction a byte, and a no-op for each replacement.
    const columns = CodeColumns.take(1 + bytes + input.alternatives.length);
    this.#columns = columns;
    this.#starting = columns.starting;
    this.section = columns.section;
    this.offset = columns.offset;
    this.length = columns.length;
    this.type = columns.type;
    this.flags = columns.flags;
    this.func = columns.func;
    this.opCode = columns.opCode;
    this.opOffset = columns.opOffset;
    this.jumpDest = columns.jumpDest;
    this.callDest = columns.callDest;
    this.reloc = columns.reloc;
    this.cfi = columns.cfi;
    this.firstOf = new Int32Array(sections.length);
    this.endOf = new Int32Array(sections.length);
    this.parent = new Int32Array(symbols.count);
    this.cold = new Int32Array(symbols.count);
    this.entry = new Uint8Array(symbols.count);
    for (const symbol of input.entryCode ?? []) this.entry[symbol] = 1;
    const functions = this.#sortedFunctions();
    const spans = spansOf(functions, symbols);
    for (let i = 1; i < sections.length; i++) {
      if (sections[i].text) this.#decode(i, sections[i], spans.get(i) ?? NO_SPANS);
    }
    this.#addFunctions(functions);
    this.#linkColdParts();
  }

  at(section: number, offset: number): number {
    if (!(offset >= 0 && offset < this.#size[section])) return 0;
    return this.#starting[this.#base[section] + offset];
  }

  /** Gives the columns to the next object: nothing of this one may be used any more. */
  release(): void {
    const bytes = this.#size.reduce((sum, size) => sum + size, 0);
    this.#columns.release(this.count + this.input.alternatives.length, bytes);
  }

  #decode(index: number, { name, bytes, relocs }: CodeSection, functions: Spans): void {
    const decoder = this.#arch.decoder();
    const { starts } = functions;
    const starting = this.#starting;
    const base = this.#base[index];
    const relocAt = relocs ? relocCursor(relocs) : undefined;
    const { section: sectionOf, offset: offsetOf, length: lengthOf, type: typeOf } = this;
    let at = this.count;
    this.firstOf[index] = at;
    for (let offset = 0, next = 0; offset < bytes.length; at++) {
      while (starts[next] <= offset) next++;
      decoder.decode(bytes, offset);
      const { length, type } = decoder;
      // Data that happen to be the beginning of an instruction do not reach into a function.
      if (length === 0 || offset + length > starts[next]) {
        const what =
          length === 0
            ? `can't decode instruction at ${name}:0x${offset.toString(16)}`
            : `${this.input.symbols.name(functions.symbols[next])}(): can't find starting instruction`;
        const resume = this.#resumeAt(index, offset, at, functions, next);
        offset = this.#leaveOut(index, offset, at, resume, what);
        at--;
        continue;
      }
      starting[base + offset] = at;
      sectionOf[at] = index;
      offsetOf[at] = offset;
      lengthOf[at] = length;
      typeOf[at] = type;
      if (decoder.op !== 0) {
        this.opCode[at] = decoder.op;
        this.opOffset[at] = decoder.opOffset;
      }
      if (type === INSN_BUG) this.flags[at] = IN_DEAD_END;
      else if (type >= INSN_CALL && type <= INSN_JUMP_CONDITIONAL) {
        this.jumpDest[at] = decoder.target;
        if (relocAt) this.reloc[at] = relocAt(offset, offset + length) + 1;
      }
      offset += length;
    }
    if (at > this.firstOf[index]) this.flags[at - 1] |= IN_LAST;
    this.endOf[index] = at;
    this.count = at;
  }

  /** Notes bytes that are no instruction; where they end. `count`: of the instruction that is not there. */
  #leaveOut(index: number, start: number, count: number, resume: number, warning: string): number {
    if (this.warnings.length < MAX_WARNINGS) this.warnings.push(warning);
    if (count > this.firstOf[index]) this.flags[count - 1] |= IN_LAST;
    const end = Math.min(this.#size[index], resume);
    this.undecoded.push({ section: index, start, end });
    return end;
  }

  /** Behind bytes that are no instruction: where a jump of the same function goes, or the next function starts. */
  #resumeAt(index: number, offset: number, count: number, { starts, ends }: Spans, next: number): number {
    const start = starts[next - 1] ?? offset;
    const end = ends[next - 1] ?? offset;
    let found = starts[next] ?? Number.MAX_SAFE_INTEGER;
    for (let insn = count - 1; insn >= this.firstOf[index] && this.offset[insn] >= start; insn--) {
      const isJump = this.type[insn] === INSN_JUMP || this.type[insn] === INSN_JUMP_CONDITIONAL;
      const dest = this.jumpDest[insn];
      if (isJump && this.reloc[insn] === 0 && dest > offset && dest < end) found = Math.min(found, dest);
    }
    return found;
  }

  /** Of symbols for the same code the last one stands for it, as in elf_add_symbol(). */
  #addFunctions(wanted: readonly number[]): void {
    const { section, value } = this.input.symbols;
    for (let i = 0; i < wanted.length; i++) {
      const [s, next] = [wanted[i], wanted[i + 1]];
      // Of aliases, and of a shorter one at the same place, the last one stands.
      const isAlias = next !== undefined && section[next] === section[s] && value[next] === value[s];
      this.parent[s] = isAlias ? next : s;
      if (!isAlias) this.funcs.push(s);
    }
    for (let i = wanted.length - 2; i >= 0; i--) this.parent[wanted[i]] = this.parent[this.parent[wanted[i]]];
    this.#claimInstructions();
  }

  /** By section, offset, size, and number. */
  #sortedFunctions(): number[] {
    const { symbols, sections } = this.input;
    const { type, section, value, size } = symbols;
    const bySection: number[][] = [];
    for (let s = 1; s < symbols.count; s++) {
      if (type[s] !== SYM_FUNC || !sections[section[s]]?.text) continue;
      bySection[section[s]] ??= [];
      bySection[section[s]].push(s);
    }
    const sorted: number[] = [];
    for (const list of bySection) {
      if (!list) continue;
      const order = (a: number, b: number): number => value[a] - value[b] || size[a] - size[b] || a - b;
      if (symbols.count >= MOST_KEYS) {
        sorted.push(...list.sort(order));
        continue;
      }
      // Numbers sort many times faster than with a comparison: offset above, place in the list below.
      const keys = new Float64Array(list.length);
      for (let i = 0; i < list.length; i++) keys[i] = value[list[i]] * MOST_KEYS + list[i];
      keys.sort();
      const start = sorted.length;
      for (let i = 0; i < keys.length; i++) sorted.push(keys[i] % MOST_KEYS);
      sortTies(sorted, start, value, order);
    }
    return sorted;
  }

  /** Of functions that lie over each other, the last to start has the instruction. */
  #claimInstructions(): void {
    const { section, value, size } = this.input.symbols;
    const { funcs, offset } = this;
    const open: number[] = [];
    for (let i = 0; i < funcs.length; i++) {
      const [func, next] = [funcs[i], funcs[i + 1]];
      const index = section[func];
      if (index !== section[funcs[i - 1]]) open.length = 0;
      let insn = this.at(index, value[func]);
      // One that does not start with an instruction has none.
      if (insn === 0) continue;
      open.push(func);
      const last = this.endOf[index];
      const limit = section[next] === index ? value[next] : Number.MAX_SAFE_INTEGER;
      while (open.length > 0 && insn < last && offset[insn] < limit) {
        const top = open[open.length - 1];
        const end = Math.min(limit, value[top] + size[top]);
        for (; insn < last && offset[insn] < end; insn++) this.#claim(insn, top);
        if (end < limit) open.pop();
      }
    }
  }

  #claim(insn: number, func: number): void {
    this.func[insn] = func;
    if (this.type[insn] !== INSN_CONTEXT_SWITCH || this.entry[func]) return;
    const { bytes } = this.input.sections[this.section[insn]];
    const returns = this.#arch.returnToSelf(bytes, this.offset[insn]);
    if (!returns) return;
    this.type[insn] = INSN_OTHER;
    this.opCode[insn] = returns.op;
    this.opOffset[insn] = returns.offset;
  }

  /** Static functions of several files may share a name: the one of the same file is meant. */
  #linkColdParts(): void {
    const { symbols } = this.input;
    const colds: number[] = [];
    for (const func of this.funcs) {
      if (symbols.name(func).includes('.cold')) colds.push(func);
    }
    if (colds.length === 0) return;
    const file = fileOfSymbols(this.input);
    const parents = new Map(colds.map((cold) => [parentName(symbols.name(cold)), 0]));
    const inFile = new Map<string, number>();
    for (let s = 1; s < symbols.count; s++) {
      if (this.parent[s] === 0 || !parents.has(symbols.name(s))) continue;
      parents.set(symbols.name(s), s);
      inFile.set(`${file[s]} ${symbols.name(s)}`, s);
    }
    for (const cold of colds) {
      const name = parentName(symbols.name(cold));
      const parent = inFile.get(`${file[cold]} ${name}`) ?? parents.get(name) ?? 0;
      if (parent !== 0) linkCold(this, this.parent[parent], cold);
    }
  }
}

/** Functions of a section by offset, without those inside others. */
interface Spans {
  readonly symbols: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

const NO_SPANS: Spans = { symbols: [], starts: [], ends: [] };

function spansOf(sorted: readonly number[], { section, value, size }: SymbolTable): Map<number, Spans> {
  const bySection = new Map<number, { symbols: number[]; starts: number[]; ends: number[] }>();
  for (const s of sorted) {
    const found = bySection.get(section[s]) ?? { symbols: [], starts: [], ends: [] };
    bySection.set(section[s], found);
    const { symbols, starts, ends } = found;
    const last = starts.length - 1;
    const end = value[s] + size[s];
    if (starts[last] === value[s]) ends[last] = Math.max(ends[last], end);
    else if (last < 0 || value[s] >= ends[last]) {
      symbols.push(s);
      starts.push(value[s]);
      ends.push(end);
    }
  }
  return bySection;
}

const parentName = (cold: string): string => cold.slice(0, cold.indexOf('.cold'));

/** Symbols that fit a key, with an offset of 31 bits above. */
const MOST_KEYS = 2 ** 22;

/** Those at one offset still stand by number alone. */
function sortTies(
  list: number[],
  start: number,
  value: Int32Array,
  order: (a: number, b: number) => number,
): void {
  for (let i = start, next = i + 1; i < list.length; i = next) {
    next = i + 1;
    while (next < list.length && value[list[next]] === value[list[i]]) next++;
    if (next - i < 2) continue;
    const ties = list.slice(i, next).sort(order);
    for (let k = 0; k < ties.length; k++) list[i + k] = ties[k];
  }
}

export function linkCold(code: Code, parent: number, cold: number): void {
  if (parent === cold) return;
  code.cold[parent] = cold;
  code.parent[cold] = parent;
}

/** Number of the file that a local symbol comes from; 0 for global ones. */
function fileOfSymbols({ symbols }: ObjtoolInput): Int32Array {
  const file = new Int32Array(symbols.count);
  let current = 0;
  for (let s = 1; s < symbols.count; s++) {
    if (symbols.type[s] === SYM_FILE) current++;
    else if (symbols.bind[s] === BIND_LOCAL && symbols.type[s] !== SYM_SECTION) file[s] = current;
  }
  return file;
}

/** Finds the relocation within each of a rising series of ranges; -1 for none. */
function relocCursor(relocs: RelocTable): (from: number, end: number) => number {
  const { offset, count } = relocs;
  if (relocs.sorted) {
    let next = 0;
    return (from, end) => {
      while (next < count && offset[next] < from) next++;
      return next < count && offset[next] < end ? next : -1;
    };
  }
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort(
    (a, b) => offset[a] - offset[b] || a - b,
  );
  let next = 0;
  return (from, end) => {
    while (next < count && offset[order[next]] < from) next++;
    return next < count && offset[order[next]] < end ? order[next] : -1;
  };
}
