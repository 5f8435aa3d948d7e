// The machine that straight pieces of real code are executed in, many instructions at a run (tape.ts).
//
// Almost every address that comes about from pointers of nobody's is memory: one block, filled with pointers
// into itself, is mapped again and again all over the low addresses and around those of data. What is read is a
// pointer, a sum of pointers is one too, and an access that fails is rare.
//
// Invariant: registers are in `state` after a run that ended where it should, and the stack in `words`.

import { type CpuContext, REG } from '../guest/engine.ts';
import { UnicornEngine } from '../guest/unicorn.ts';
import { DATA_MIDDLE } from './check_layout.ts';

const PAGE = 0x1000;
const BLOCK = 0x200000;
const STACK = 0xffffc90000004000n;
const STACK_SIZE = 0x4000;
const AREA_SIZE = 0x10000;
const STUBS = 0x40000000;
const AREA = STUBS + PAGE;
export const TAPE = AREA + AREA_SIZE;
export const TAPE_SIZE = 0x400000;
/** Nothing written at once is longer. */
const MARGIN = 0x10000;

/** Where all registers point that nothing is known of. */
export const TAPE_POINTER = 3 * BLOCK;
/** What operands relative to rip are made to mean. */
export const TAPE_DATA = 64 * BLOCK;
/** Where the block is mapped: from, to. */
const ZONES: readonly (readonly [bigint, bigint])[] = [
  [0n, 0x10000000n],
  [DATA_MIDDLE - BigInt(BLOCK), DATA_MIDDLE + 0x8000000n],
  [0xfffffffff8000000n, 0x10000000000000000n],
];
/** Bytes on both sides of a pointer that are put back for each function. */
const NEAR = 0x1000;

const REGISTERS = 16;
/** In the area: registers, the address to start at, then the log. */
const START_SLOT = REGISTERS;
const LOG_SLOT = 32;
export const LOG_SLOTS = 4096;

export class TapeMachine {
  readonly words: Uint32Array;
  /** The general registers, halves. */
  readonly state: Uint32Array;
  /** What the code on the tape noted, halves. */
  readonly log: Uint32Array;
  readonly tape: Uint8Array;
  readonly view: DataView;
  /** Offset of the next free byte of the tape. */
  end = 0;
  readonly #area: Uint32Array;
  readonly #block: Uint32Array;
  readonly #engine: UnicornEngine;
  readonly #context: CpuContext;
  readonly #out: number;
  readonly #until: number;

  constructor() {
    const engine = new UnicornEngine(() => -1);
    this.#engine = engine;
    const stubsAt = STACK_SIZE + BLOCK;
    const { buffer, start } = engine.allocate(stubsAt + PAGE + AREA_SIZE + TAPE_SIZE);
    this.words = new Uint32Array(buffer, start, STACK_SIZE / 4);
    this.#block = new Uint32Array(buffer, start + STACK_SIZE, BLOCK / 4);
    this.#area = new Uint32Array(buffer, start + stubsAt + PAGE, AREA_SIZE / 4);
    this.state = this.#area.subarray(0, 2 * REGISTERS);
    this.log = this.#area.subarray(2 * LOG_SLOT, 2 * (LOG_SLOT + LOG_SLOTS));
    const tapeAt = start + stubsAt + PAGE + AREA_SIZE;
    this.tape = new Uint8Array(buffer, tapeAt, TAPE_SIZE);
    this.view = new DataView(buffer, tapeAt, TAPE_SIZE);
    engine.map(STACK, STACK_SIZE, 3, 0);
    for (const [from, to] of ZONES) {
      for (let at = from; at < to; at += BigInt(BLOCK)) engine.map(at, BLOCK, 3, STACK_SIZE);
    }
    const { code, out, until } = stubs();
    new Uint8Array(buffer, start + stubsAt, PAGE).set(code);
    this.#out = out;
    this.#until = until;
    engine.map(BigInt(STUBS), PAGE, 5, stubsAt);
    engine.map(BigInt(AREA), AREA_SIZE, 3, stubsAt + PAGE);
    engine.map(BigInt(TAPE), TAPE_SIZE, 5, stubsAt + PAGE + AREA_SIZE);
    this.#context = engine.newContext();
    this.#context.gsBase = BigInt(TAPE_POINTER);
    this.refill();
  }

  /** All memory as it was at first. */
  refill(): void {
    for (let i = 0; i < BLOCK / 4; i += 2) {
      this.#block[i] = TAPE_POINTER;
      this.#block[i + 1] = 0;
    }
  }

  /** The memory that most accesses go to. */
  refillNear(): void {
    const block = this.#block;
    const source = block.subarray(BLOCK / 8, BLOCK / 8 + NEAR / 4);
    block.set(source, 0);
    block.set(source, (BLOCK - NEAR) / 4);
  }

  /** Makes room for a piece; what was on the tape may be gone afterwards. */
  reserve(): void {
    if (this.end + MARGIN < TAPE_SIZE) return;
    this.end = 0;
    for (let at = 0; at < TAPE_SIZE; at += PAGE) this.#engine.invalidate(BigInt(TAPE + at), PAGE);
  }

  /** The jump that ends a piece. */
  writeEnd(): void {
    this.tape[this.end] = 0xe9;
    this.view.setInt32(this.end + 1, this.#out - (TAPE + this.end + 5), true);
    this.end += 5;
  }

  /** Notes a register: mov [log], register. Returns the slot. */
  writeLog(register: number, slot: number): number {
    const { tape, end } = this;
    tape[end] = register >= 8 ? 0x4c : 0x48;
    tape[end + 1] = 0x89;
    tape[end + 2] = ((register & 7) << 3) | 5;
    this.view.setInt32(end + 3, AREA + 8 * (LOG_SLOT + slot) - (TAPE + end + 7), true);
    this.end = end + 7;
    return slot;
  }

  /** Runs a piece from an offset, with the registers of `state`, or those of the last run. */
  run(from: number, loaded: boolean): boolean {
    if (!loaded) return this.resume(TAPE + from);
    this.#area[2 * START_SLOT] = TAPE + from;
    this.#area[2 * START_SLOT + 1] = 0;
    return this.resume(STUBS);
  }

  resume(at: number): boolean {
    const stop = this.#engine.runTo(this.#context, at, this.#until);
    if (stop.kind === 'until') return true;
    // The flags are not known in the middle of what was translated as one; TF could be set.
    this.#context.regs[REG.rflags] = 2n;
    return false;
  }

  /**
   * Offset of the instruction that a run could not do, if it stands behind a jump: the engine knows the address of
   * what it translated as one, not of each instruction in it.
   */
  get faultAt(): number {
    return this.#context.halves[2 * REG.rip] - TAPE;
  }

  close(): void {
    this.#engine.close();
  }
}

/** Code that loads all registers and jumps to the piece, and code that stores them. */
function stubs(): { code: Uint8Array; out: number; until: number } {
  const code = new Uint8Array(PAGE).fill(0xf4);
  const view = new DataView(code.buffer);
  let at = 0;
  const move = (opcode: number, register: number, slot: number): void => {
    code.set([register >= 8 ? 0x4c : 0x48, opcode, ((register & 7) << 3) | 5], at);
    view.setInt32(at + 3, AREA + 8 * slot - (STUBS + at + 7), true);
    at += 7;
  };
  for (let r = 0; r < REGISTERS; r++) move(0x8b, r, r);
  // jmp [start]
  code.set([0xff, 0x25], at);
  view.setInt32(at + 2, AREA + 8 * START_SLOT - (STUBS + at + 6), true);
  at = 0x400;
  for (let r = 0; r < REGISTERS; r++) move(0x89, r, r);
  return { code, out: STUBS + 0x400, until: STUBS + at };
}
