// The machine that a check runs real code in: one stack, text of one object at a time, and memory that gives a valid
// pointer wherever code reads one.
//
// Almost every address that comes about from pointers of nobody's is memory: one block, filled with pointers into
// itself, lies again and again all over the address space (as far as the engine can: with Unicorn in some zones). What is
// read is a pointer, a sum of pointers is one too, and an access that fails is rare.
//
// Invariant: the stack above the entry's stack pointer, and stale words below it, hold addresses of callers
// that have entries: a wrong answer meets what a real stack would offer it, and is not excused by zeroes.

import type { CheckEngine } from '../arch/checking.ts';
import type { CpuContext } from '../guest/engine.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import { callerStack } from './caller_stack.ts';
import {
  BLOCK,
  MAX_TEXT,
  POINTER,
  STACK_BASE,
  STACK_HALF,
  STACK_LO,
  STACK_SIZE,
  TEXT_BASE,
  TEXT_HALF,
  TEXT_LO,
  ZONES,
} from './check_layout.ts';
import { SAVED_DISTANCES } from './saved_registers.ts';
import { openEngine } from './target.ts';

export * from './check_layout.ts';

const TEXT_AT = STACK_SIZE + BLOCK;
/** Bytes on both sides of a pointer that are put back for each object, and for each function. */
const AROUND = 0x40000;
const NEAR = 0x1000;
/** Around where registers point that a function has to give back. */
const NEAR_SAVED = 0x400;
/** Bytes below the stack pointer that judging may write to. */
const BELOW = 0x200;
const POINTERS = Uint32Array.from({ length: AROUND / 4 }, (_, i) => (i % 2 === 0 ? BLOCK : 0));
const POINTERS_NEAR = POINTERS.subarray(0, NEAR / 4);
/** Of both sides. */
const POINTERS_NEAR_SAVED = POINTERS.subarray(0, (2 * NEAR_SAVED) / 4);

export class CheckGuest {
  readonly engine: CheckEngine;
  readonly context: CpuContext;
  /** The stack, two words an address. */
  readonly words: Uint32Array;
  readonly #block: Uint32Array;
  readonly #text: Uint8Array;
  readonly #stack = callerStack();
  /** Of the stack, what may have been written to since it was filled. */
  #from = 0;
  #mapped = 0;
  #loaded: Uint8Array | undefined;

  constructor(engine: CheckEngine = openEngine()) {
    const { buffer, start } = engine.allocate(TEXT_AT + MAX_TEXT + PAGE_SIZE);
    this.engine = engine;
    this.words = new Uint32Array(buffer, start, STACK_SIZE / 4);
    this.#block = new Uint32Array(buffer, start + STACK_SIZE, BLOCK / 4);
    this.#text = new Uint8Array(buffer, start + TEXT_AT, MAX_TEXT + PAGE_SIZE);
    this.#windows(PAGE_SIZE);
    engine.map(STACK_BASE, STACK_SIZE, 3, 0);
    engine.mapElsewhere(ZONES, BLOCK, STACK_SIZE);
    this.context = engine.newContext();
  }

  #windows(text: number): void {
    this.engine.windows?.([
      { hi: STACK_HALF, lo: STACK_LO, span: STACK_SIZE, ram: 0, stacks: false },
      { hi: TEXT_HALF, lo: TEXT_LO, span: text, ram: TEXT_AT, stacks: false },
    ]);
  }

  /** Puts text in, unless it is there; what was there before is gone, translations too. */
  loadText(bytes: Uint8Array): void {
    if (this.#loaded === bytes) return;
    this.#loaded = bytes;
    const { engine } = this;
    if (this.#mapped > 0) engine.unmap(TEXT_BASE, this.#mapped);
    this.#text.fill(0, bytes.length, this.#mapped);
    this.#text.set(bytes);
    this.#mapped = Math.ceil((bytes.length + 16) / PAGE_SIZE) * PAGE_SIZE;
    this.#windows(this.#mapped);
    engine.map(TEXT_BASE, this.#mapped, 5, TEXT_AT);
    this.#fillPointers(POINTERS);
  }

  /** On both sides of the pointer, where the block begins and the one before it ends. */
  #fillPointers(words: Uint32Array): void {
    this.#block.set(words);
    this.#block.set(words, this.#block.length - words.length);
  }

  /** `lowest`: of the stack pointers since the last time. The processor, the stack as a caller leaves it, memory near pointers. */
  prepare(lowest: number): void {
    const { words, engine, context } = this;
    engine.reset(context);
    context.perCpuBase = POINTER;
    const from = Math.min(this.#from, Math.max(0, (lowest - BELOW - STACK_LO) >> 2));
    words.set(this.#stack.subarray(from), from);
    this.#from = words.length;
    this.#fillPointers(POINTERS_NEAR);
    for (let i = 0; i < SAVED_DISTANCES.length; i++)
      this.#block.set(POINTERS_NEAR_SAVED, (SAVED_DISTANCES[i] - NEAR_SAVED) / 4);
  }

  close(): void {
    this.engine.close();
  }
}
