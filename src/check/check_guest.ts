// The machine that a check runs real code in: one stack, text of one object at a time, and memory that
// gives a valid pointer wherever code reads one.
//
// Invariant: the stack above the entry's stack pointer, and stale words below it, hold addresses of callers
// that have entries: a wrong answer meets what a real stack would offer it, and is not excused by zeroes.

import type { CpuContext } from '../guest/engine.ts';
import { GDT } from '../guest/gdt.ts';
import { GuestMemory, PAGE_SIZE } from '../guest/memory.ts';
import { UnicornEngine } from '../guest/unicorn.ts';

export const TEXT_BASE = 0xffffffffc0001000n;
export const TEXT_LO = 0xc0001000;
/** What relocations of text point to. */
export const DATA_BASE = 0xffffffffc5f00000n;
export const DATA_SIZE = 0x20000;
export const DATA_MIDDLE = DATA_BASE + BigInt(DATA_SIZE / 2);
/** Text of the callers: never executed, only looked up. */
export const CALLER_LO = 0x81000000;
export const CALLER_SIZE = 0x1000;
export const LAST_CALLER_LO = CALLER_LO + 0x800;
/** Of the last frame that a task can have, as the frame pointer unwinder knows it. */
export const CALLER_BP_LO = 0x7f48;

/** Stack of slot 0. */
export const STACK_LO = 0x4000;
export const STACK_HALF = 0xffffc900;
/** Low half of rsp at a function's entry: the return address lies there. */
export const ENTRY_SP = 0x7e00;
/** Stack that a function may use; deeper is left unmapped by a check of rsp. */
export const DEEPEST_SP = 0x4200;

const HEAP = 0xffff888000000000n;
const ARENA_LOW = 0x500000;
const ARENA_SIZE = 0x200000;
const GDT_AT = HEAP + 0x1000n;
/** Its low half is an address of user memory, so that a pointer cut to 32 bits can be read too. */
export const POINTER = HEAP + 0x600000n;
/** Bytes around POINTER that are put back for each function. */
const NEAR = 0x2000;

export class CheckGuest {
  readonly engine: UnicornEngine;
  readonly memory: GuestMemory;
  readonly context: CpuContext;
  /** The stack, two words an address. */
  readonly words: Uint32Array;
  #text = 0;
  #loaded: Uint8Array | undefined;

  constructor() {
    let memory: GuestMemory | undefined;
    this.engine = new UnicornEngine((addr) => (memory?.isMapped(addr) ? memory.readU8(addr) : -1));
    memory = new GuestMemory({ heap: 16 << 20, stacks: 1 }, this.engine.allocate);
    memory.attach(this.engine);
    this.memory = memory;
    memory.map(HEAP, PAGE_SIZE * 2, 3);
    GDT.forEach((entry, i) => {
      memory.writeU64(GDT_AT + BigInt(8 * i), entry);
    });
    this.engine.loadSegments(GDT_AT, 8 * GDT.length - 1);
    for (const [base, size] of [
      [HEAP + BigInt(ARENA_LOW), ARENA_SIZE],
      [BigInt(ARENA_LOW), ARENA_SIZE],
      [DATA_BASE, DATA_SIZE],
    ] as const) {
      memory.map(base, size, 3);
      this.#fillPointers(base, size);
    }
    memory.map(0xffffc90000004000n, 0x4000, 3);
    this.words = memory.stackWords;
    this.context = this.engine.newContext();
    this.context.gsBase = POINTER;
  }

  #fillPointers(base: bigint, size: number): void {
    const at = this.memory.offsetOf(base, size) >>> 2;
    const { u32 } = this.memory;
    for (let i = 0; i < size >>> 2; i += 2) {
      u32[at + i] = Number(POINTER & 0xffffffffn);
      u32[at + i + 1] = Number(POINTER >> 32n);
    }
  }

  /** Puts text in, unless it is there; what was there before is gone, translations too. */
  loadText(bytes: Uint8Array): void {
    if (this.#loaded === bytes) return;
    this.#loaded = bytes;
    if (this.#text > 0) this.memory.unmap(TEXT_BASE, this.#text);
    this.#text = Math.ceil((bytes.length + 16) / PAGE_SIZE) * PAGE_SIZE;
    this.memory.map(TEXT_BASE, this.#text, 3);
    this.memory.writeBytes(TEXT_BASE, bytes);
    this.memory.protect(TEXT_BASE, this.#text, 5);
  }

  /** The stack as a caller leaves it, with old return addresses below, and memory near the pointer. */
  prepare(): void {
    const { words } = this;
    const last = (ENTRY_SP - STACK_LO) >>> 2;
    // Not further down than functions go, most of the time: the rest is filled once.
    for (let i = this.#filled ? last - 0x200 : 0; i < words.length; i += 2) {
      words[i] = CALLER_LO + 0x100 + (i & 0x3c);
      words[i + 1] = 0xffffffff;
    }
    this.#filled = true;
    words[last] = CALLER_LO + 0x200;
    for (let i = last + 16; i < words.length; i += 2) words[i] = LAST_CALLER_LO + 0x10;
    this.#fillPointers(POINTER - BigInt(NEAR / 2), NEAR);
  }
  #filled = false;

  close(): void {
    this.engine.close();
  }
}
