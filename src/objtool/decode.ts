// Instructions of every text section, and which function each belongs to.
// Mirrors decode_instructions() of tools/objtool/check.c and read_symbols() of elf.c.

import { decodeAt, FLOW_INVALID, Insn } from '../isa/decoder.ts';
import {
  BIND_LOCAL,
  type CodeSection,
  type ObjtoolInput,
  type RelocTable,
  SYM_FILE,
  SYM_FUNC,
  SYM_SECTION,
} from './input.ts';
import {
  type AltGroup,
  type Code,
  IN_DEAD_END,
  IN_LAST,
  INSN_BUG,
  INSN_CALL,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP_CONDITIONAL,
  INSN_OTHER,
  insnType,
} from './insn.ts';
import { IRET_OFFSET, IRET_OP, stackOp, stackOpOffset } from './stack_op.ts';

/** Instead of a relocation: a jump of a replacement, whose destination does not stand in it. */
export const DESTINATION_KNOWN = -1;

const NONE = new Int32Array(0);

export class CodeTable implements Code {
  readonly input: ObjtoolInput;
  count = 1;
  readonly section: Uint16Array;
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
  readonly funcs: number[] = [];
  readonly warnings: string[] = [];
  steps = 0;
  /**
   * One more than the relocation of each branch, in its section's table; 0 for none. Until destinations are
   * found, `jumpDest` of a branch is the offset that its displacement gives.
   */
  readonly reloc: Int32Array;
  readonly #byOffset: Int32Array[];

  constructor(input: ObjtoolInput) {
    this.input = input;
    const { sections, symbols } = input;
    let bytes = 1;
    for (const { text, bytes: b } of sections) if (text) bytes += b.length;
    // At most an instruction a byte, and a no-op for each replacement; what is not used takes no memory.
    const room = bytes + input.alternatives.length;
    this.section = new Uint16Array(room);
    this.offset = new Int32Array(room);
    this.length = new Uint8Array(room);
    this.type = new Uint8Array(room);
    this.flags = new Uint16Array(room);
    this.func = new Int32Array(room);
    this.opCode = new Int32Array(room);
    this.opOffset = new Int32Array(room);
    this.jumpDest = new Int32Array(room);
    this.callDest = new Int32Array(room);
    this.reloc = new Int32Array(room);
    this.cfi = new Int32Array(room);
    this.firstOf = new Int32Array(sections.length);
    this.endOf = new Int32Array(sections.length);
    this.parent = new Int32Array(symbols.count);
    this.cold = new Int32Array(symbols.count);
    this.#byOffset = sections.map(({ text, bytes: b }) => (text ? new Int32Array(b.length) : NONE));
    for (let i = 1; i < sections.length; i++) if (sections[i].text) this.#decode(i, sections[i]);
    this.#addFunctions();
    this.#linkColdParts();
  }

  at(section: number, offset: number): number {
    return this.#byOffset[section]?.[offset] ?? 0;
  }

  #decode(index: number, { name, bytes, relocs }: CodeSection): void {
    const insn = new Insn();
    const byOffset = this.#byOffset[index];
    const relocAt = relocs ? relocCursor(relocs) : undefined;
    const { section: sectionOf, offset: offsetOf, length: lengthOf, type: typeOf } = this;
    let at = this.count;
    this.firstOf[index] = at;
    for (let offset = 0; offset < bytes.length; at++) {
      decodeAt(bytes, offset, offset, insn);
      if (insn.flow === FLOW_INVALID) {
        this.warnings.push(`can't decode instruction at ${name}:0x${offset.toString(16)}`);
        break;
      }
      const type = insnType(insn);
      byOffset[offset] = at;
      sectionOf[at] = index;
      offsetOf[at] = offset;
      lengthOf[at] = insn.length;
      typeOf[at] = type;
      const op = stackOp(insn);
      if (op !== 0) {
        this.opCode[at] = op;
        this.opOffset[at] = stackOpOffset;
      }
      if (type === INSN_BUG) this.flags[at] = IN_DEAD_END;
      else if (type >= INSN_CALL && type <= INSN_JUMP_CONDITIONAL) {
        this.jumpDest[at] = insn.target;
        if (relocAt) this.reloc[at] = relocAt(offset, offset + insn.length) + 1;
      }
      offset += insn.length;
    }
    if (at > this.firstOf[index]) this.flags[at - 1] |= IN_LAST;
    this.endOf[index] = at;
    this.count = at;
  }

  /** Of symbols for the same code the last one stands for it, as in elf_add_symbol(). */
  #addFunctions(): void {
    const { symbols, sections } = this.input;
    const { type, section, value, size } = symbols;
    const wanted: number[] = [];
    for (let s = 1; s < symbols.count; s++) {
      if (type[s] === SYM_FUNC && sections[section[s]]?.text) wanted.push(s);
    }
    wanted.sort((a, b) => section[a] - section[b] || value[a] - value[b] || size[a] - size[b] || a - b);
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
    // sync_core() returns to itself with iret; elsewhere it is entry code.
    if (this.type[insn] === INSN_CONTEXT_SWITCH && this.#isIret(insn)) {
      this.type[insn] = INSN_OTHER;
      this.opCode[insn] = IRET_OP;
      this.opOffset[insn] = IRET_OFFSET;
    }
  }

  #isIret(insn: number): boolean {
    const { bytes } = this.input.sections[this.section[insn]];
    return bytes[this.offset[insn] + this.length[insn] - 1] === 0xcf;
  }

  /** Static functions of several files may share a name: the one of the same file is meant. */
  #linkColdParts(): void {
    const { symbols } = this.input;
    const colds: number[] = [];
    for (const func of this.funcs) {
      if (symbols.name(func).includes('.cold')) colds.push(func);
    }
    if (colds.length === 0) return;
    const byName = this.#funcsByName();
    const file = fileOfSymbols(this.input);
    for (const cold of colds) {
      const name = symbols.name(cold);
      const same = byName.get(name.slice(0, name.indexOf('.cold'))) ?? [];
      const parent = same.find((s) => file[s] === file[cold]) ?? same.at(-1);
      if (parent !== undefined) linkCold(this, this.parent[parent], cold);
    }
  }

  #funcsByName(): Map<string, number[]> {
    const { symbols, sections } = this.input;
    const byName = new Map<string, number[]>();
    for (let s = 1; s < symbols.count; s++) {
      if (symbols.type[s] !== SYM_FUNC || !sections[symbols.section[s]]?.text) continue;
      const name = symbols.name(s);
      const same = byName.get(name);
      if (same) same.push(s);
      else byName.set(name, [s]);
    }
    return byName;
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
