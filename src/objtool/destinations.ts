// Where jumps and calls go.
// Mirrors add_jump_destinations(), add_call_destinations() and add_dead_ends() of
// tools/objtool/check.c.

import { OP_POP, opCode } from '../arch/code.ts';
import { type CodeTable, DESTINATION_KNOWN, linkCold } from './decode.ts';
import { type RelocTable, SYM_FUNC, SYM_SECTION } from './input.ts';
import {
  callableAt,
  find,
  IN_DEAD_END,
  IN_IGNORE,
  IN_INNER_CALL,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_JUMP_DYNAMIC_CONDITIONAL,
  INSN_RETURN,
  nextInSection,
  OP_PUSH_OTHER,
  warn,
} from './insn.ts';
import { DeadEnds } from './noreturn.ts';

const RETURN_THUNK = 1;
const RETPOLINE = 2;

/** Its own name, and that of code which runs where the kernel is not mapped yet. */
const THUNKS_OF_RETURN: ReadonlySet<string> = new Set(['__x86_return_thunk', '__pi___x86_return_thunk']);

/** Behind the one that never returns, before the stack is given back. */
const MOST_CALLS = 2;

export class Destinations {
  readonly #code: CodeTable;
  readonly #deadEnds: DeadEnds;
  /** By symbol: what it is, one more than that once known. */
  readonly #kinds: Uint8Array;
  /** By symbol: whether it is a cold part, one more than that once known. */
  readonly #cold: Uint8Array;
  /** Symbols that are no functions, by instruction. */
  readonly #labelAt = new Map<number, number>();
  /** Of the section at hand. */
  #relocs: RelocTable | undefined;
  /** Where the branch at hand goes: a symbol of its own (0: none), or a place. */
  #symbol = 0;
  #section = 0;
  #offset = 0;

  constructor(code: CodeTable) {
    this.#code = code;
    this.#deadEnds = new DeadEnds(code);
    const { symbols, sections } = code.input;
    this.#kinds = new Uint8Array(symbols.count);
    this.#cold = new Uint8Array(symbols.count);
    for (let s = symbols.count - 1; s > 0; s--) {
      if (symbols.type[s] === SYM_FUNC || symbols.type[s] === SYM_SECTION) continue;
      if (!sections[symbols.section[s]]?.text || symbols.name(s) === '') continue;
      this.#labelAt.set(code.at(symbols.section[s], symbols.value[s]), s);
    }
  }

  addAll(): void {
    const { sections } = this.#code.input;
    for (let i = 1; i < sections.length; i++) this.#addJumps(i);
    // Which functions return is known when all jumps are.
    for (let i = 1; i < sections.length; i++) this.#addCalls(i);
    this.#addMarks();
  }

  #addJumps(section: number): void {
    const { type, firstOf, endOf, input } = this.#code;
    const end = endOf[section];
    this.#relocs = input.sections[section].relocs;
    for (let insn = firstOf[section]; insn < end; insn++) {
      if (type[insn] === INSN_JUMP || type[insn] === INSN_JUMP_CONDITIONAL) this.#addJump(insn);
    }
  }

  #addCalls(section: number): void {
    const { type, firstOf, endOf, input } = this.#code;
    const end = endOf[section];
    this.#relocs = input.sections[section].relocs;
    for (let insn = firstOf[section]; insn < end; insn++) if (type[insn] === INSN_CALL) this.#addCall(insn);
  }

  #addJump(insn: number): void {
    const code = this.#code;
    const { jumpDest } = code;
    const from = callableAt(code, insn);
    if (code.reloc[insn] === DESTINATION_KNOWN) return;
    this.#readTarget(insn);
    jumpDest[insn] = 0;
    const named = this.#namedTarget();
    const kind = named === 0 ? 0 : this.#kind(named);
    if (kind === RETPOLINE) {
      const conditional = code.type[insn] === INSN_JUMP_CONDITIONAL;
      code.type[insn] = conditional ? INSN_JUMP_DYNAMIC_CONDITIONAL : INSN_JUMP_DYNAMIC;
      this.#noteThunk(insn, named);
      return;
    }
    if (kind === RETURN_THUNK) {
      code.type[insn] = INSN_RETURN;
      return;
    }
    const dest = this.#section === 0 ? 0 : code.at(this.#section, this.#offset);
    const within = dest !== 0 && from !== 0 && code.func[dest] === from;
    if (this.#symbol !== 0 && from !== 0 && !(within && code.parent[this.#symbol] === 0)) {
      code.callDest[insn] = this.#symbol;
      return;
    }
    if (dest === 0) {
      if (this.#section !== 0) warn(code, insn, `can't find jump dest instruction at ${this.#place()}`);
      return;
    }
    if (!this.#leavesFunction(insn, dest)) jumpDest[insn] = dest;
  }

  /** Where a thunk is code of the object itself, it is called all the same. */
  #noteThunk(insn: number, thunk: number): void {
    const code = this.#code;
    if (code.input.isLinked && code.parent[thunk] !== 0) code.callDest[insn] = code.parent[thunk];
  }

  /** A jump into another function: its cold part, or a tail call, which is noted. */
  #leavesFunction(insn: number, dest: number): boolean {
    const code = this.#code;
    const from = callableAt(code, insn);
    const to = code.func[dest];
    if (from === 0 || to === 0 || from === to) return false;
    if (this.#isCold(to) && !this.#isCold(from)) {
      linkCold(code, from, to);
      return false;
    }
    if (code.parent[from] === code.parent[to] || !this.#isStart(dest, to)) return false;
    code.callDest[insn] = to;
    return true;
  }

  /** Its first instruction, or the one behind its endbr64, which only an indirect call needs. */
  #isStart(insn: number, func: number): boolean {
    const { section, offset, input } = this.#code;
    const start = input.symbols.value[func];
    if (offset[insn] === start) return true;
    return input.arch.functionStart(input.sections[section[insn]].bytes, offset[insn]) === start;
  }

  #isCold(func: number): boolean {
    const known = this.#cold[func];
    if (known !== 0) return known === 2;
    const isCold = this.#code.input.symbols.name(func).includes('.cold');
    this.#cold[func] = isCold ? 2 : 1;
    return isCold;
  }

  #addCall(insn: number): void {
    const code = this.#code;
    const relocated = code.reloc[insn] !== 0;
    this.#readTarget(insn);
    code.jumpDest[insn] = 0;
    const named = this.#namedTarget();
    if (this.#kind(named) === RETPOLINE) {
      code.type[insn] = INSN_CALL_DYNAMIC;
      this.#noteThunk(insn, named);
      code.opCode[insn] = 0;
      return;
    }
    const isInner = (code.flags[insn] & IN_INNER_CALL) !== 0;
    const dest = isInner ? 0 : this.#symbol || this.#symbolThere();
    if (dest === 0) {
      this.#addInnerCall(insn, relocated && !isInner);
      return;
    }
    const { symbols } = code.input;
    if (!relocated && callableAt(code, insn) !== 0 && symbols.type[dest] !== SYM_FUNC) {
      warn(code, insn, 'unsupported call to non-function');
    }
    code.callDest[insn] = dest;
    code.opCode[insn] = 0;
    if (this.#deadEnds.has(dest) && !this.#isOnAnotherStack(insn)) code.flags[insn] |= IN_DEAD_END;
  }

  /**
   * A call between taking another stack and going back to one's own: the source says of it that execution goes on, as of
   * any (ASM_CALL_ARG* of asm/irq_stack.h), and a linked kernel does not.
   */
  #isOnAnotherStack(insn: number): boolean {
    const code = this.#code;
    if (!code.input.isLinked) return false;
    let next = nextInSection(code, insn);
    for (let calls = 0; code.type[next] === INSN_CALL && calls < MOST_CALLS; calls++)
      next = nextInSection(code, next);
    const { sp } = code.input.arch.registers;
    return next !== 0 && code.func[next] === code.func[insn] && code.opCode[next] === opCode(OP_POP, 0, sp);
  }

  /** A call within the function: a jump that leaves a return address behind. */
  #addInnerCall(insn: number, relocated: boolean): void {
    const code = this.#code;
    if (code.flags[insn] & IN_IGNORE) return;
    const dest = code.at(this.#section, this.#offset);
    if (dest === 0 || relocated) {
      warn(code, insn, `can't find call dest symbol at ${this.#place()}`);
      code.opCode[insn] = 0;
      return;
    }
    code.type[insn] = INSN_JUMP;
    // A call is a push, until it is known that the callee takes it off again.
    code.opCode[insn] = OP_PUSH_OTHER;
    code.jumpDest[insn] = dest;
  }

  #addMarks(): void {
    const code = this.#code;
    for (const mark of code.input.deadEnds) {
      const insn = find(code, mark);
      if (insn !== 0) code.flags[insn] |= IN_DEAD_END;
    }
    for (const mark of code.input.reachable) {
      const insn = find(code, mark);
      if (insn !== 0) code.flags[insn] &= ~IN_DEAD_END;
    }
  }

  /** The relocation of a branch, or where its displacement points. */
  #readTarget(insn: number): void {
    const code = this.#code;
    this.#symbol = 0;
    const index = code.reloc[insn] - 1;
    const relocs = this.#relocs;
    if (index < 0 || !relocs) {
      this.#section = code.section[insn];
      this.#offset = code.jumpDest[insn];
      return;
    }
    const { symbols } = code.input;
    const symbol = relocs.symbol[index];
    this.#section = symbols.section[symbol];
    this.#offset = symbols.value[symbol] + relocs.addend[index] + 4;
    if (symbols.type[symbol] !== SYM_SECTION) this.#symbol = symbol;
  }

  #symbolThere(): number {
    const code = this.#code;
    const dest = code.at(this.#section, this.#offset);
    if (dest === 0) return 0;
    const func = code.func[dest];
    return func !== 0 && code.input.symbols.value[func] === this.#offset
      ? func
      : (this.#labelAt.get(dest) ?? 0);
  }

  /** In an assembled image nothing is relocated, in a linked kernel what leaves its section: names are at the destinations. */
  #namedTarget(): number {
    if (this.#symbol !== 0) return this.#symbol;
    return this.#relocs && !this.#code.input.isLinked ? 0 : this.#symbolThere();
  }

  #kind(symbol: number): number {
    if (symbol === 0) return 0;
    const known = this.#kinds[symbol];
    if (known !== 0) return known - 1;
    const name = this.#code.input.symbols.name(symbol);
    const kind = THUNKS_OF_RETURN.has(name)
      ? RETURN_THUNK
      : name.startsWith('__x86_indirect_')
        ? RETPOLINE
        : 0;
    this.#kinds[symbol] = kind + 1;
    return kind;
  }

  #place(): string {
    return `${this.#code.input.sections[this.#section]?.name}+0x${this.#offset.toString(16)}`;
  }
}
