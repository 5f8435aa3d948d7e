// What is known about the stack before one instruction: where the caller's stack pointer
// was (the CFA), and where the callee-saved registers are kept.
// Mirrors struct cfi_state of tools/objtool/include/objtool/cfi.h and its hash.
//
// Invariant: a state is a row of numbers and is known by its id; equal states have one id,
// and states that insn_cfi_match() holds for equal have one match class.

import { CFA, type CodeRegisters, UNDEFINED } from '../arch/code.ts';
import { CfiLimitError } from './error.ts';

export const TYPE_CALL = 0;
export const TYPE_REGS = 1;
export const TYPE_REGS_PARTIAL = 2;

/** Words of a row. A location is two: base and offset. */
export const STACK_SIZE = 0;
export const DRAP = 1;
export const DRAP_REG = 2;
export const DRAP_OFFSET = 3;
export const TYPE = 4;
export const END = 5;
/** An interrupt frame. */
export const SIGNAL = 6;
export const CFA_BASE = 7;
export const CFA_OFFSET = 8;
/** The return address is where a call puts it. */
const RETURN_KNOWN = 9;
/**
 * Callee-saved registers, in the port's order. Behind them what each register holds that is known: an address on
 * the stack.
 */
const SAVED = 10;

/** Id of no state. */
export const NO_CFI = 0;
/** Nothing is known. */
export const INIT_CFI = 1;
/** At the first instruction of a function that was called. */
export const FUNC_CFI = 2;

/** 430 MB: ten times what the largest module needs. */
const MAX_STATES = 1 << 21;

export class CfiTable {
  readonly registers: CodeRegisters;
  /** Word of a register's location, or -1. */
  readonly savedAt: Int32Array;
  /** Of the frame pointer's. */
  readonly fpAt: number;
  /** Of the first register's value. */
  readonly values: number;
  /** Words of a state. */
  readonly size: number;
  words: Int32Array<ArrayBuffer>;
  count = 1;
  /** By id. */
  match = new Int32Array(256);
  readonly scratch: Int32Array;
  #slots = new Int32Array(512);
  #hashes = new Int32Array(256);
  #classSlots = new Int32Array(512);
  #classes = 0;

  constructor(registers: CodeRegisters) {
    const { count, calleeSaved, sp, fp, callFrame } = registers;
    this.registers = registers;
    this.savedAt = new Int32Array(count).fill(-1);
    calleeSaved.forEach((reg, i) => {
      this.savedAt[reg] = SAVED + 2 * i;
    });
    this.fpAt = this.savedAt[fp];
    this.values = SAVED + 2 * calleeSaved.length;
    this.size = this.values + 2 * count;
    this.words = new Int32Array(this.size * 256);
    this.scratch = new Int32Array(this.size);
    const s = this.scratch;
    s[CFA_BASE] = UNDEFINED;
    for (let at = SAVED; at < this.size; at += 2) s[at] = UNDEFINED;
    s[DRAP_REG] = UNDEFINED;
    s[DRAP_OFFSET] = -1;
    this.intern();
    s[CFA_BASE] = sp;
    s[CFA_OFFSET] = callFrame;
    s[STACK_SIZE] = callFrame;
    s[RETURN_KNOWN] = 1;
    this.intern();
  }

  /** A state into `scratch`, to be changed and interned. */
  load(id: number): Int32Array {
    const { words, scratch, size } = this;
    const from = id * size;
    for (let i = 0; i < size; i++) scratch[i] = words[from + i];
    return scratch;
  }

  get(id: number, word: number): number {
    return this.words[id * this.size + word];
  }

  /** The id of the state in `scratch`. */
  intern(): number {
    const { scratch, size } = this;
    let hash = 0;
    for (let i = 0; i < size; i++) hash = (Math.imul(hash, 31) + scratch[i]) | 0;
    const mask = this.#slots.length - 1;
    hash = Math.imul(hash, 0x9e3779b1) >>> 8;
    let slot = hash;
    for (; ; slot++) {
      const id = this.#slots[slot & mask];
      if (id === 0) break;
      if (this.#hashes[id] === hash && this.#holds(id)) return id;
    }
    return this.#add(slot & mask, hash);
  }

  #holds(id: number): boolean {
    const { words, scratch, size } = this;
    const from = id * size;
    for (let i = 0; i < size; i++) if (words[from + i] !== scratch[i]) return false;
    return true;
  }

  #add(slot: number, hash: number): number {
    const id = this.count++;
    if (id >= MAX_STATES) throw new CfiLimitError(`more than ${MAX_STATES} different stack states`);
    if ((id + 1) * this.size > this.words.length) this.#grow();
    this.words.set(this.scratch, id * this.size);
    this.#hashes[id] = hash;
    this.match[id] = this.#classOf(id);
    this.#slots[slot] = id;
    if (this.count * 2 > this.#slots.length) {
      this.#slots = this.#rehashed(this.#slots, (s) => this.#hashes[s]);
    }
    return id;
  }

  /** By what insn_cfi_match() looks at. */
  #classOf(id: number): number {
    const slots = this.#classSlots;
    const mask = slots.length - 1;
    let slot = this.#classHash(id);
    for (; slots[slot & mask] !== 0; slot++) {
      const other = slots[slot & mask];
      if (this.#matches(id, other)) return this.match[other];
    }
    slots[slot & mask] = id;
    this.#classes++;
    if (this.#classes * 2 > slots.length) this.#classSlots = this.#rehashed(slots, (s) => this.#classHash(s));
    return this.#classes;
  }

  #matches(a: number, b: number): boolean {
    const { words, size, values } = this;
    const [first, second] = [a * size, b * size];
    for (let i = CFA_BASE; i < values; i++) if (words[first + i] !== words[second + i]) return false;
    if (words[first + TYPE] !== words[second + TYPE] || words[first + DRAP] !== words[second + DRAP])
      return false;
    if (words[first + DRAP] === 0) return true;
    const sameReg = words[first + DRAP_REG] === words[second + DRAP_REG];
    return sameReg && words[first + DRAP_OFFSET] === words[second + DRAP_OFFSET];
  }

  #classHash(id: number): number {
    const from = id * this.size;
    let hash = 0;
    for (let i = CFA_BASE; i < this.values; i++) hash = (Math.imul(hash, 31) + this.words[from + i]) | 0;
    return Math.imul(hash, 0x9e3779b1) >>> 8;
  }

  #rehashed(slots: Int32Array, hash: (id: number) => number): Int32Array<ArrayBuffer> {
    const larger = new Int32Array(slots.length * 4);
    const mask = larger.length - 1;
    for (const id of slots) {
      if (id === 0) continue;
      let slot = hash(id);
      while (larger[slot & mask] !== 0) slot++;
      larger[slot & mask] = id;
    }
    return larger;
  }

  #grow(): void {
    this.words = doubled(this.words);
    this.match = doubled(this.match);
    this.#hashes = doubled(this.#hashes);
  }
}

function doubled(from: Int32Array): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}

/** Anything on the stack that a return, or a jump to another function, must not leave there. */
export function hasModifiedFrame(table: CfiTable, id: number): boolean {
  const { words: s, registers } = table;
  const { sp, callFrame } = registers;
  const at = id * table.size;
  if (s[at + CFA_BASE] !== sp || s[at + CFA_OFFSET] !== callFrame || s[at + STACK_SIZE] !== callFrame)
    return true;
  if (s[at + DRAP] || !s[at + RETURN_KNOWN]) return true;
  for (let word = SAVED; word < table.values; word += 2) {
    if (s[at + word] !== UNDEFINED || s[at + word + 1] !== 0) return true;
  }
  return false;
}

const show = (base: number, offset: number): string => `${base}${offset < 0 ? '' : '+'}${offset}`;

/** How two ways to one instruction disagree, in objtool's words; undefined when they agree. */
export function cfiMismatch(table: CfiTable, first: number, second: number): string | undefined {
  if (first === second || table.match[first] === table.match[second]) return undefined;
  const of = (id: number, word: number): number => table.get(id, word);
  const place = (id: number, word: number): string => show(of(id, word), of(id, word + 1));
  if (place(first, CFA_BASE) !== place(second, CFA_BASE)) {
    return `stack state mismatch: cfa1=${place(first, CFA_BASE)} cfa2=${place(second, CFA_BASE)}`;
  }
  const { calleeSaved, returnAddress, word: push } = table.registers;
  for (const reg of calleeSaved) {
    const [a, b] = [place(first, table.savedAt[reg]), place(second, table.savedAt[reg])];
    if (a !== b) return `stack state mismatch: reg1[${reg}]=${a} reg2[${reg}]=${b}`;
  }
  if (of(first, RETURN_KNOWN) !== of(second, RETURN_KNOWN)) {
    const ra = (id: number): string => (of(id, RETURN_KNOWN) ? show(CFA, -push) : show(UNDEFINED, 0));
    return `stack state mismatch: reg1[${returnAddress}]=${ra(first)} reg2[${returnAddress}]=${ra(second)}`;
  }
  if (of(first, TYPE) !== of(second, TYPE)) {
    return `stack state mismatch: type1=${of(first, TYPE)} type2=${of(second, TYPE)}`;
  }
  const drap = (id: number): string => `${of(id, DRAP)}(${of(id, DRAP_REG)},${of(id, DRAP_OFFSET)})`;
  return `stack state mismatch: drap1=${drap(first)} drap2=${drap(second)}`;
}
