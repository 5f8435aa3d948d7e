// The machine that a check runs real code in: one stack, text of one object at a time, and memory that
// gives a valid pointer wherever code reads one.
//
// Invariant: the stack above the entry's stack pointer, and stale words below it, hold addresses of callers
// that have entries: a wrong answer meets what a real stack would offer it, and is not excused by zeroes.

import type { CheckEngine } from '../arch/checking.ts';
import type { CpuContext } from '../guest/engine.ts';
import { GuestMemory, PAGE_SIZE } from '../guest/memory.ts';
import { callerStack, RETURN_WORD } from './caller_stack.ts';
import { DATA_BASE, DATA_SIZE, HEAP, POINTER, TEXT_BASE } from './check_layout.ts';
import { SAVED_POINTERS } from './saved_registers.ts';
import { TapeMachine } from './tape_machine.ts';
import { openEngine } from './target.ts';

export * from './check_layout.ts';

const ARENA_LOW = 0x500000;
const ARENA_SIZE = 0x200000;
const TABLES_AT = HEAP + 0x1000n;
/** Bytes around POINTER that are put back for each function. */
const NEAR = 0x2000;

export class CheckGuest {
  readonly engine: CheckEngine;
  readonly memory: GuestMemory;
  readonly context: CpuContext;
  /** The stack, two words an address. */
  readonly words: Uint32Array;
  #tape: TapeMachine | undefined;
  readonly #stack = callerStack();
  #filled = false;
  #text = 0;
  #loaded: Uint8Array | undefined;

  constructor() {
    this.engine = openEngine();
    const memory = new GuestMemory({ heap: 16 << 20, stacks: 1 }, this.engine.allocate);
    memory.attach(this.engine);
    this.memory = memory;
    memory.map(HEAP, PAGE_SIZE * 2, 3);
    this.engine.loadTablesAt(memory, TABLES_AT);
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
    this.context.perCpuBase = POINTER;
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
    // Not further down than functions go, most of the time: the rest is filled once.
    const from = this.#filled ? RETURN_WORD - 0x200 : 0;
    words.set(this.#stack.subarray(from), from);
    this.#filled = true;
    this.#fillPointers(POINTER - BigInt(NEAR / 2), NEAR);
    for (const value of SAVED_POINTERS) this.#fillPointers(value - BigInt(NEAR / 8), NEAR / 4);
  }

  /** For what runs many instructions at once. */
  get tape(): TapeMachine {
    this.#tape ??= new TapeMachine();
    return this.#tape;
  }

  close(): void {
    this.#tape?.close();
    this.engine.close();
  }
}
