// The stack state after one stack operation.
// Mirrors update_cfi_state() of tools/objtool/check.c, the realigned frames (DRAP), restores
// and stack switches that GCC emits included.
//
// Invariant: a transition depends on the state and the operation alone, so that each is worked
// out once; what depends on the place (is the function callable, does a hint follow) is left to
// the caller.

import {
  BP,
  BP_AT,
  BP_INDIRECT,
  CFA,
  CFA_BASE,
  CFA_OFFSET,
  type CfiTable,
  DRAP,
  DRAP_OFFSET,
  DRAP_REG,
  SAVED_AT,
  SP,
  SP_INDIRECT,
  STACK_SIZE,
  TYPE,
  TYPE_REGS,
  TYPE_REGS_PARTIAL,
  UNDEFINED,
  VALUES,
} from './cfi.ts';
import {
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
} from './stack_op.ts';

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

/** Below pt_regs only the distance to them is followed. */
function updateRegs(s: State, code: number, offset: number): void {
  if (s[CFA_BASE] !== SP && s[CFA_BASE] !== SP_INDIRECT) return;
  const kind = opKind(code);
  if (kind === OP_PUSH || kind === OP_PUSH_OTHER) s[CFA_OFFSET] += 8;
  if (kind === OP_POP || kind === OP_POP_OTHER || kind === OP_LEAVE) s[CFA_OFFSET] -= 8;
  if (kind === OP_ADD && opTo(code) === SP && opFrom(code) === SP) s[CFA_OFFSET] -= offset;
}

/** The stack pointer moves by `bytes`, away from the caller when positive. */
function grow(s: State, bytes: number): void {
  s[STACK_SIZE] += bytes;
  if (s[CFA_BASE] === SP) s[CFA_OFFSET] += bytes;
}

/** The first save of a callee-saved register counts. */
function save(s: State, reg: number, base: number, offset: number): void {
  const at = SAVED_AT[reg];
  if (at < 0 || s[at] !== UNDEFINED) return;
  s[at] = base;
  s[at + 1] = offset;
}

function restore(s: State, reg: number): void {
  const at = SAVED_AT[reg];
  if (at < 0) return;
  s[at] = UNDEFINED;
  s[at + 1] = 0;
}

/** Offset of the place where a register is saved; 0 for none. */
const savedOffset = (s: State, reg: number): number => (SAVED_AT[reg] < 0 ? 0 : s[SAVED_AT[reg] + 1]);

function setValue(s: State, reg: number, base: number, offset: number): void {
  s[VALUES + reg * 2] = base;
  s[VALUES + reg * 2 + 1] = offset;
}

const valueBase = (s: State, reg: number): number => s[VALUES + reg * 2];
const valueOffset = (s: State, reg: number): number => s[VALUES + reg * 2 + 1];

function bpIsPushed(s: State): boolean {
  return s[BP_AT] === CFA && s[BP_AT + 1] === -s[CFA_OFFSET];
}

/** `mov %rax, (%rsp-like)` earlier put the old stack pointer at the top of another stack. */
function holdsSwitchedStack(s: State, reg: number): boolean {
  return valueBase(s, reg) === SP_INDIRECT && valueOffset(s, reg) === s[CFA_OFFSET];
}

function moveFromSp(s: State, to: number): boolean {
  if (to === BP && s[CFA_BASE] === SP && bpIsPushed(s)) s[CFA_BASE] = BP;
  else if (to === BP && s[DRAP]) {
    s[BP_AT] = BP;
    s[BP_AT + 1] = -s[STACK_SIZE];
  } else if (s[CFA_BASE] === SP) setValue(s, to, CFA, -s[STACK_SIZE]);
  else return false;
  return true;
}

function moveIntoCfaBase(s: State, from: number): void {
  if (s[CFA_BASE] === SP && valueBase(s, from) === CFA) {
    s[CFA_OFFSET] = -valueOffset(s, from);
    s[STACK_SIZE] = s[CFA_OFFSET];
  } else if (s[CFA_BASE] === SP && holdsSwitchedStack(s, from)) s[CFA_BASE] = SP_INDIRECT;
  else {
    s[CFA_BASE] = UNDEFINED;
    s[CFA_OFFSET] = 0;
  }
}

function move(s: State, from: number, to: number): void {
  if (from === SP && moveFromSp(s, to)) return;
  if (from === BP && to === SP && (s[CFA_BASE] === BP || s[CFA_BASE] === s[DRAP_REG])) {
    s[STACK_SIZE] = -s[BP_AT + 1];
  } else if (to === s[CFA_BASE]) moveIntoCfaBase(s, from);
  // The pop that comes back will look like any other: count the slot it takes off.
  else if (to === SP && holdsSwitchedStack(s, from)) s[STACK_SIZE] += 8;
}

/** add to rsp, and lea of either direction. */
function addTo(s: State, from: number, offset: number, to: number): number {
  if (to === SP && from === SP) grow(s, -offset);
  else if (to === SP && from === BP) s[STACK_SIZE] = -(offset + s[BP_AT + 1]);
  else if (from === SP && s[CFA_BASE] === SP) {
    s[DRAP_REG] = to;
    setValue(s, to, CFA, -s[STACK_SIZE] + offset);
  } else if (s[DRAP] && to === SP && from === s[DRAP_REG]) {
    s[CFA_BASE] = SP;
    s[CFA_OFFSET] = s[STACK_SIZE] = -offset;
    s[DRAP_REG] = UNDEFINED;
    s[DRAP] = 0;
  } else if (to === s[CFA_BASE]) return CFI_UNSUPPORTED_MODIFICATION;
  return 0;
}

function align(s: State): number {
  const hasDrap = s[DRAP_REG] !== UNDEFINED;
  if (hasDrap ? s[CFA_BASE] !== SP : s[CFA_BASE] !== BP) return CFI_UNSUPPORTED_REALIGNMENT;
  if (hasDrap) {
    s[CFA_BASE] = s[DRAP_REG];
    s[CFA_OFFSET] = s[STACK_SIZE] = 0;
    s[DRAP] = 1;
  }
  return 0;
}

function drapIsBack(s: State): void {
  s[CFA_BASE] = s[DRAP_REG];
  s[CFA_OFFSET] = 0;
  s[DRAP_OFFSET] = -1;
}

function pop(s: State, reg: number): void {
  if (reg === SP && s[CFA_BASE] === SP_INDIRECT) {
    s[CFA_BASE] = SP;
    return;
  }
  if (!s[DRAP] && reg === s[CFA_BASE]) s[CFA_BASE] = SP;
  const isDrap = s[DRAP] && s[CFA_BASE] === BP_INDIRECT && reg === s[DRAP_REG];
  if (isDrap && s[DRAP_OFFSET] === -s[STACK_SIZE]) drapIsBack(s);
  else if (s[STACK_SIZE] === -savedOffset(s, reg)) restore(s, reg);
  grow(s, -8);
}

/** mov offset(from), to */
function load(s: State, from: number, offset: number, to: number): void {
  if (!s[DRAP] && to === s[CFA_BASE] && to === BP) {
    s[CFA_BASE] = SP;
    s[CFA_OFFSET] = s[STACK_SIZE];
  }
  if (s[DRAP] && from === BP && offset === s[DRAP_OFFSET]) drapIsBack(s);
  const kept = savedOffset(s, to);
  const inDrapFrame = s[DRAP] && from === BP && offset === kept;
  const fromCfaBase = from === s[CFA_BASE] && offset === kept + s[CFA_OFFSET];
  const fromStack = from === SP && offset === kept + s[STACK_SIZE];
  if (inDrapFrame || fromCfaBase || fromStack) restore(s, to);
}

function push(s: State, reg: number): void {
  grow(s, 8);
  if (!s[DRAP]) save(s, reg, CFA, -s[STACK_SIZE]);
  else if (reg === s[CFA_BASE] && reg === s[DRAP_REG]) {
    s[CFA_BASE] = BP_INDIRECT;
    s[CFA_OFFSET] = s[DRAP_OFFSET] = -s[STACK_SIZE];
  } else if (reg === BP && s[CFA_BASE] === s[DRAP_REG]) s[STACK_SIZE] = 0;
  else save(s, reg, BP, -s[STACK_SIZE]);
}

/** mov from, offset(to) */
function store(s: State, from: number, offset: number, to: number): void {
  if (s[DRAP]) {
    if (from === s[CFA_BASE] && from === s[DRAP_REG]) {
      s[CFA_BASE] = BP_INDIRECT;
      s[CFA_OFFSET] = s[DRAP_OFFSET] = offset;
    } else save(s, from, BP, offset);
  } else if (to === s[CFA_BASE]) save(s, from, CFA, offset - s[CFA_OFFSET]);
  else if (to === SP) save(s, from, CFA, offset - s[STACK_SIZE]);
  else if (from === SP && offset === 0) setValue(s, to, SP_INDIRECT, s[CFA_OFFSET]);
}

/** Changes the state; 0, or why it cannot be followed. */
function apply(s: State, code: number, offset: number): number {
  if (s[CFA_BASE] === UNDEFINED) return CFI_UNDEFINED;
  if (s[TYPE] === TYPE_REGS || s[TYPE] === TYPE_REGS_PARTIAL) {
    updateRegs(s, code, offset);
    return 0;
  }
  const [from, to] = [opFrom(code), opTo(code)];
  switch (opKind(code)) {
    case OP_PUSH:
      push(s, from);
      return 0;
    case OP_PUSH_OTHER:
      grow(s, 8);
      return 0;
    case OP_POP:
      pop(s, to);
      return 0;
    case OP_POP_OTHER:
      grow(s, -8);
      return 0;
    case OP_STORE:
      store(s, from, offset, to);
      return 0;
    case OP_LOAD:
      load(s, from, offset, to);
      return 0;
    case OP_MOVE:
      move(s, from, to);
      return 0;
    case OP_ADD:
      return addTo(s, from, offset, to);
    case OP_AND:
      return align(s);
    default:
      return apply(s, opCode(OP_MOVE, BP, SP), 0) || apply(s, opCode(OP_POP, 0, BP), 0);
  }
}

/** The transitions seen so far. */
export class CfiTransitions {
  readonly #table: CfiTable;
  /** Rows of state, code, offset, result. */
  #rows = new Int32Array(4096 * 4);
  #count = 0;

  constructor(table: CfiTable) {
    this.#table = table;
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
    const result = apply(state, code, offset) || this.#table.intern();
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
