// The stack state after one stack operation.
// Mirrors update_cfi_state() of tools/objtool/check.c, the realigned frames (DRAP), restores
// and stack switches that GCC emits included.
//
// Invariant: a transition depends on the state and the operation alone, so that each is worked
// out once; what depends on the place (is the function callable, does a hint follow) is left to
// the caller.

import {
  CFA,
  FP_INDIRECT,
  OP_ADD,
  OP_AND,
  OP_LEAVE,
  OP_LOAD,
  OP_MOVE,
  OP_POP,
  OP_POP_OTHER,
  OP_PUSH,
  OP_PUSH_OTHER,
  OP_STORE,
  opCode,
  opFrom,
  opKind,
  opTo,
  SP_INDIRECT,
  UNDEFINED,
} from '../arch/code.ts';
import {
  CFA_BASE,
  CFA_OFFSET,
  type CfiTable,
  DRAP,
  DRAP_OFFSET,
  DRAP_REG,
  STACK_SIZE,
  TYPE,
  TYPE_REGS,
  TYPE_REGS_PARTIAL,
} from './cfi.ts';

/** Results that are no state. */
export const CFI_UNDEFINED = -1;
export const CFI_UNSUPPORTED_MODIFICATION = -2;
const CFI_UNSUPPORTED_REALIGNMENT = -3;

export const CFI_PROBLEMS: Readonly<Record<number, string>> = {
  [CFI_UNDEFINED]: 'undefined stack state',
  [CFI_UNSUPPORTED_MODIFICATION]: 'unsupported stack register modification',
  [CFI_UNSUPPORTED_REALIGNMENT]: 'unsupported stack pointer realignment',
};

type State = Int32Array;

/** What an operation makes of a state, for the registers of one port. */
class StackRules {
  readonly #sp: number;
  readonly #fp: number;
  readonly #word: number;
  readonly #savedAt: Int32Array;
  readonly #fpAt: number;
  readonly #values: number;

  constructor({ registers, savedAt, fpAt, values }: CfiTable) {
    this.#sp = registers.sp;
    this.#fp = registers.fp;
    this.#word = registers.word;
    this.#savedAt = savedAt;
    this.#fpAt = fpAt;
    this.#values = values;
  }

  /** Below pt_regs only the distance to them is followed. */
  #updateRegs(s: State, code: number, offset: number): void {
    if (s[CFA_BASE] !== this.#sp && s[CFA_BASE] !== SP_INDIRECT) return;
    const kind = opKind(code);
    if (kind === OP_PUSH || kind === OP_PUSH_OTHER) s[CFA_OFFSET] += this.#word;
    if (kind === OP_POP || kind === OP_POP_OTHER || kind === OP_LEAVE) s[CFA_OFFSET] -= this.#word;
    if (kind === OP_ADD && opTo(code) === this.#sp && opFrom(code) === this.#sp) s[CFA_OFFSET] -= offset;
  }

  /** The stack pointer moves by `bytes`, away from the caller when positive. */
  #grow(s: State, bytes: number): void {
    s[STACK_SIZE] += bytes;
    if (s[CFA_BASE] === this.#sp) s[CFA_OFFSET] += bytes;
  }

  /** The first save of a callee-saved register counts. */
  #save(s: State, reg: number, base: number, offset: number): void {
    const at = this.#savedAt[reg];
    if (at < 0 || s[at] !== UNDEFINED) return;
    s[at] = base;
    s[at + 1] = offset;
  }

  #restore(s: State, reg: number): void {
    const at = this.#savedAt[reg];
    if (at < 0) return;
    s[at] = UNDEFINED;
    s[at + 1] = 0;
  }

  /** Offset of the place where a register is saved; 0 for none. */
  #savedOffset(s: State, reg: number): number {
    return this.#savedAt[reg] < 0 ? 0 : s[this.#savedAt[reg] + 1];
  }

  #setValue(s: State, reg: number, base: number, offset: number): void {
    s[this.#values + reg * 2] = base;
    s[this.#values + reg * 2 + 1] = offset;
  }

  #valueBase(s: State, reg: number): number {
    return s[this.#values + reg * 2];
  }

  #valueOffset(s: State, reg: number): number {
    return s[this.#values + reg * 2 + 1];
  }

  #fpIsPushed(s: State): boolean {
    return s[this.#fpAt] === CFA && s[this.#fpAt + 1] === -s[CFA_OFFSET];
  }

  /** `mov %rax, (%rsp-like)` earlier put the old stack pointer at the top of another stack. */
  #holdsSwitchedStack(s: State, reg: number): boolean {
    return this.#valueBase(s, reg) === SP_INDIRECT && this.#valueOffset(s, reg) === s[CFA_OFFSET];
  }

  #moveFromSp(s: State, to: number): boolean {
    if (to === this.#fp && s[CFA_BASE] === this.#sp && this.#fpIsPushed(s)) s[CFA_BASE] = this.#fp;
    else if (to === this.#fp && s[DRAP]) {
      s[this.#fpAt] = this.#fp;
      s[this.#fpAt + 1] = -s[STACK_SIZE];
    } else if (s[CFA_BASE] === this.#sp) this.#setValue(s, to, CFA, -s[STACK_SIZE]);
    else return false;
    return true;
  }

  #moveIntoCfaBase(s: State, from: number): void {
    if (s[CFA_BASE] === this.#sp && this.#valueBase(s, from) === CFA) {
      s[CFA_OFFSET] = -this.#valueOffset(s, from);
      s[STACK_SIZE] = s[CFA_OFFSET];
    } else if (s[CFA_BASE] === this.#sp && this.#holdsSwitchedStack(s, from)) s[CFA_BASE] = SP_INDIRECT;
    else {
      s[CFA_BASE] = UNDEFINED;
      s[CFA_OFFSET] = 0;
    }
  }

  #move(s: State, from: number, to: number): void {
    if (from === this.#sp && this.#moveFromSp(s, to)) return;
    if (from === this.#fp && to === this.#sp && (s[CFA_BASE] === this.#fp || s[CFA_BASE] === s[DRAP_REG])) {
      s[STACK_SIZE] = -s[this.#fpAt + 1];
    } else if (to === s[CFA_BASE]) this.#moveIntoCfaBase(s, from);
    // The pop that comes back will look like any other: count the slot it takes off.
    else if (to === this.#sp && this.#holdsSwitchedStack(s, from)) s[STACK_SIZE] += this.#word;
  }

  /** add to rsp, and lea of either direction. */
  #addTo(s: State, from: number, offset: number, to: number): number {
    if (to === this.#sp && from === this.#sp) this.#grow(s, -offset);
    else if (to === this.#sp && from === this.#fp) s[STACK_SIZE] = -(offset + s[this.#fpAt + 1]);
    else if (from === this.#sp && s[CFA_BASE] === this.#sp) {
      s[DRAP_REG] = to;
      this.#setValue(s, to, CFA, -s[STACK_SIZE] + offset);
    } else if (s[DRAP] && to === this.#sp && from === s[DRAP_REG]) {
      s[CFA_BASE] = this.#sp;
      s[CFA_OFFSET] = s[STACK_SIZE] = -offset;
      s[DRAP_REG] = UNDEFINED;
      s[DRAP] = 0;
    } else if (to === s[CFA_BASE]) return CFI_UNSUPPORTED_MODIFICATION;
    return 0;
  }

  #align(s: State): number {
    const hasDrap = s[DRAP_REG] !== UNDEFINED;
    if (hasDrap ? s[CFA_BASE] !== this.#sp : s[CFA_BASE] !== this.#fp) return CFI_UNSUPPORTED_REALIGNMENT;
    if (hasDrap) {
      s[CFA_BASE] = s[DRAP_REG];
      s[CFA_OFFSET] = s[STACK_SIZE] = 0;
      s[DRAP] = 1;
    }
    return 0;
  }

  #drapIsBack(s: State): void {
    s[CFA_BASE] = s[DRAP_REG];
    s[CFA_OFFSET] = 0;
    s[DRAP_OFFSET] = -1;
  }

  #pop(s: State, reg: number): void {
    if (reg === this.#sp && s[CFA_BASE] === SP_INDIRECT) {
      s[CFA_BASE] = this.#sp;
      return;
    }
    if (!s[DRAP] && reg === s[CFA_BASE]) s[CFA_BASE] = this.#sp;
    const isDrap = s[DRAP] && s[CFA_BASE] === FP_INDIRECT && reg === s[DRAP_REG];
    if (isDrap && s[DRAP_OFFSET] === -s[STACK_SIZE]) this.#drapIsBack(s);
    else if (s[STACK_SIZE] === -this.#savedOffset(s, reg)) this.#restore(s, reg);
    this.#grow(s, -this.#word);
  }

  /** mov offset(from), to */
  #load(s: State, from: number, offset: number, to: number): void {
    if (!s[DRAP] && to === s[CFA_BASE] && to === this.#fp) {
      s[CFA_BASE] = this.#sp;
      s[CFA_OFFSET] = s[STACK_SIZE];
    }
    if (s[DRAP] && from === this.#fp && offset === s[DRAP_OFFSET]) this.#drapIsBack(s);
    const kept = this.#savedOffset(s, to);
    const inDrapFrame = s[DRAP] && from === this.#fp && offset === kept;
    const fromCfaBase = from === s[CFA_BASE] && offset === kept + s[CFA_OFFSET];
    const fromStack = from === this.#sp && offset === kept + s[STACK_SIZE];
    if (inDrapFrame || fromCfaBase || fromStack) this.#restore(s, to);
  }

  #push(s: State, reg: number): void {
    this.#grow(s, this.#word);
    if (!s[DRAP]) this.#save(s, reg, CFA, -s[STACK_SIZE]);
    else if (reg === s[CFA_BASE] && reg === s[DRAP_REG]) {
      s[CFA_BASE] = FP_INDIRECT;
      s[CFA_OFFSET] = s[DRAP_OFFSET] = -s[STACK_SIZE];
    } else if (reg === this.#fp && s[CFA_BASE] === s[DRAP_REG]) s[STACK_SIZE] = 0;
    else this.#save(s, reg, this.#fp, -s[STACK_SIZE]);
  }

  /** mov from, offset(to) */
  #store(s: State, from: number, offset: number, to: number): void {
    if (s[DRAP]) {
      if (from === s[CFA_BASE] && from === s[DRAP_REG]) {
        s[CFA_BASE] = FP_INDIRECT;
        s[CFA_OFFSET] = s[DRAP_OFFSET] = offset;
      } else this.#save(s, from, this.#fp, offset);
    } else if (to === s[CFA_BASE]) this.#save(s, from, CFA, offset - s[CFA_OFFSET]);
    else if (to === this.#sp) this.#save(s, from, CFA, offset - s[STACK_SIZE]);
    else if (from === this.#sp && offset === 0) this.#setValue(s, to, SP_INDIRECT, s[CFA_OFFSET]);
  }

  /** Changes the state; 0, or why it cannot be followed. */
  apply(s: State, code: number, offset: number): number {
    if (s[CFA_BASE] === UNDEFINED) return CFI_UNDEFINED;
    if (s[TYPE] === TYPE_REGS || s[TYPE] === TYPE_REGS_PARTIAL) {
      this.#updateRegs(s, code, offset);
      return 0;
    }
    const [from, to] = [opFrom(code), opTo(code)];
    switch (opKind(code)) {
      case OP_PUSH:
        this.#push(s, from);
        return 0;
      case OP_PUSH_OTHER:
        this.#grow(s, this.#word);
        return 0;
      case OP_POP:
        this.#pop(s, to);
        return 0;
      case OP_POP_OTHER:
        this.#grow(s, -this.#word);
        return 0;
      case OP_STORE:
        this.#store(s, from, offset, to);
        return 0;
      case OP_LOAD:
        this.#load(s, from, offset, to);
        return 0;
      case OP_MOVE:
        this.#move(s, from, to);
        return 0;
      case OP_ADD:
        return this.#addTo(s, from, offset, to);
      case OP_AND:
        return this.#align(s);
      default:
        return (
          this.apply(s, opCode(OP_MOVE, this.#fp, this.#sp), 0) ||
          this.apply(s, opCode(OP_POP, 0, this.#fp), 0)
        );
    }
  }
}

/** The transitions seen so far. */
export class CfiTransitions {
  readonly #table: CfiTable;
  readonly #rules: StackRules;
  /** Rows of state, code, offset, result. */
  #rows = new Int32Array(4096 * 4);
  #count = 0;

  constructor(table: CfiTable) {
    this.#table = table;
    this.#rules = new StackRules(table);
  }

  /** The state after an operation; negative for one that cannot be followed. */
  after(id: number, code: number, offset: number): number {
    const rows = this.#rows;
    const mask = (rows.length >> 2) - 1;
    for (let slot = hashOf(id, code, offset); ; slot++) {
      const at = (slot & mask) << 2;
      if (rows[at] === 0) break;
      if (rows[at] === id && rows[at + 1] === code && rows[at + 2] === offset) return rows[at + 3];
    }
    const state = this.#table.load(id);
    const result = this.#rules.apply(state, code, offset) || this.#table.intern();
    if (++this.#count * 8 > rows.length) this.#grow();
    insert(this.#rows, id, code, offset, result);
    return result;
  }

  #grow(): void {
    const rows = this.#rows;
    const larger = new Int32Array(rows.length * 2);
    for (let at = 0; at < rows.length; at += 4) {
      if (rows[at] !== 0) insert(larger, rows[at], rows[at + 1], rows[at + 2], rows[at + 3]);
    }
    this.#rows = larger;
  }
}

function hashOf(id: number, code: number, offset: number): number {
  return Math.imul(Math.imul(id, 0x9e3779b1) ^ Math.imul(code, 0x85ebca6b) ^ (offset * 31), 0xc2b2ae35) >>> 9;
}

function insert(rows: Int32Array, id: number, code: number, offset: number, result: number): void {
  const mask = (rows.length >> 2) - 1;
  let slot = hashOf(id, code, offset);
  while (rows[(slot & mask) << 2] !== 0) slot++;
  const at = (slot & mask) << 2;
  rows[at] = id;
  rows[at + 1] = code;
  rows[at + 2] = offset;
  rows[at + 3] = result;
}
