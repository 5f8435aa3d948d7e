// The machine that straight pieces of real code are executed in, many instructions at a run (piece.ts).
//
// Almost every address that comes about from pointers of nobody is memory: one block, filled with pointers
// into itself, is mapped again and again all over the low addresses and around those of data. What is read is a
// pointer, a sum of pointers is one too, and an access that fails is rare.
//
// Invariant: registers are in `state` after a run that ended where it should, and the stack in `words`.

import type { CheckEngine } from '../arch/checking.ts';
import type { StubPlaces, WrittenCode } from '../arch/code_writer.ts';
import type { CpuContext, StopKind } from '../guest/engine.ts';
import { DATA_MIDDLE } from './check_layout.ts';
import { CODE, openEngine, PC, REGISTERS } from './target.ts';

const PAGE = 0x1000;
const BLOCK = 0x1000000;
const STACK = 0xffffc90000004000n;
const STACK_SIZE = 0x4000;
const AREA_SIZE = 0x10000;
const STUBS = 0x40000000;
/** In the page of stubs: loads all registers and starts; stores them all; ends a run; keeps registers. */
const OUT = STUBS + 0x400;
const UNTIL = STUBS + 0x800;
const KEEP = STUBS + 0xa00;
const STUBS_RAM = STACK_SIZE + BLOCK;
const AREA = STUBS + PAGE;
export const TAPE = AREA + AREA_SIZE;
const TAPE_SIZE = 0x200000;
/** Nothing written at once is longer. */
const MARGIN = 0x10000;

/** Where all registers point that nothing is known of. */
export const TAPE_POINTER = BLOCK;
/** What operands relative to the program counter are made to mean. */
export const TAPE_DATA = 8 * BLOCK;
/** Where the block is mapped: from, to. */
const ZONES: readonly (readonly [bigint, bigint])[] = [
  [0n, 0xa000000n],
  [DATA_MIDDLE - BigInt(BLOCK), DATA_MIDDLE + 0x9000000n],
  // What lies on the stack from earlier calls.
  [0xffffffff80800000n, 0xffffffff81800000n],
  [0xffffffffff000000n, 0x10000000000000000n],
];
/** Bytes on both sides of a pointer that are put back for each object, and for each function. */
const AROUND = 0x40000;
const NEAR = 0x1000;

const GENERAL = REGISTERS.general;
/** Halves of `state`. */
export const TAPE_REGISTER_WORDS = 2 * GENERAL;
/** In the area: registers, the address to start at, then the log. */
const START_SLOT = GENERAL;
const LOG_SLOT = 32;
export const LOG_SLOTS = 4096;
/** Where the registers are kept of which a path goes on later. */
const KEPT_SLOT = 0x9000 / 8;
const KEPT_SIZE = 32;
export const KEPT = 64;
const PLACES: StubPlaces = {
  stubs: STUBS,
  out: OUT,
  until: UNTIL,
  keep: KEEP,
  area: AREA,
  start: AREA + 8 * START_SLOT,
  scratch: [AREA + 8 * (START_SLOT + 1), AREA + 8 * (START_SLOT + 2)],
};
const STUB_CODE = CODE.stubs(PLACES, PAGE);
const NEAR_WORDS = Uint32Array.from({ length: NEAR / 4 }, (_, i) => (i % 2 === 0 ? TAPE_POINTER : 0));

export class TapeMachine {
  readonly words: Uint32Array;
  /** The general registers, halves. */
  readonly state: Uint32Array;
  /** What the code on the tape noted, halves. */
  readonly log: Uint32Array;
  readonly tape: Uint8Array;
  /** The same, as what writes code wants it. */
  readonly code: WrittenCode;
  /** Offset of the next free byte of the tape. */
  end = 0;
  /** Registers, log, and registers kept. */
  readonly area: Uint32Array;
  readonly #block: Uint32Array;
  readonly #buffer: ArrayBuffer;
  readonly #start: number;
  #engine: CheckEngine;
  #context: CpuContext;
  /** Why the last run ended that did not get to its end. */
  faultKind: StopKind = 'until';
  /** The engine is new: no registers are in it. */
  #empty = true;

  constructor() {
    this.#engine = openEngine();
    const { buffer, start } = this.#engine.allocate(STUBS_RAM + PAGE + AREA_SIZE + TAPE_SIZE);
    this.#buffer = buffer;
    this.#start = start;
    this.words = new Uint32Array(buffer, start, STACK_SIZE / 4);
    this.#block = new Uint32Array(buffer, start + STACK_SIZE, BLOCK / 4);
    this.area = new Uint32Array(buffer, start + STUBS_RAM + PAGE, AREA_SIZE / 4);
    this.state = this.area.subarray(0, 2 * GENERAL);
    this.log = this.area.subarray(2 * LOG_SLOT, 2 * (LOG_SLOT + LOG_SLOTS));
    const tapeAt = start + STUBS_RAM + PAGE + AREA_SIZE;
    this.tape = new Uint8Array(buffer, tapeAt, TAPE_SIZE);
    this.code = { bytes: this.tape, view: new DataView(buffer, tapeAt, TAPE_SIZE), address: TAPE };
    new Uint8Array(buffer, start + STUBS_RAM, PAGE).set(STUB_CODE);
    this.#context = this.#open();
    this.refill();
  }

  #open(): CpuContext {
    const engine = this.#engine;
    engine.map(STACK, STACK_SIZE, 3, 0);
    for (const [from, to] of ZONES) {
      for (let at = from; at < to; at += BigInt(BLOCK)) engine.map(at, BLOCK, 3, STACK_SIZE);
    }
    engine.map(BigInt(STUBS), PAGE, 5, STUBS_RAM);
    engine.map(BigInt(AREA), AREA_SIZE, 3, STUBS_RAM + PAGE);
    engine.map(BigInt(TAPE), TAPE_SIZE, 5, STUBS_RAM + PAGE + AREA_SIZE);
    const context = engine.newContext();
    context.perCpuBase = BigInt(TAPE_POINTER);
    return context;
  }

  /** The memory that accesses go to, nearly all of them. */
  refill(): void {
    const block = this.#block;
    for (let i = 0; i < AROUND / 4; i += 2) {
      block[i] = TAPE_POINTER;
      block[i + 1] = 0;
    }
    block.copyWithin((BLOCK - AROUND) / 4, 0, AROUND / 4);
  }

  /** The part of it that most go to. */
  refillNear(): void {
    this.#block.set(NEAR_WORDS, 0);
    this.#block.set(NEAR_WORDS, (BLOCK - NEAR) / 4);
  }

  /**
   * Makes room for a piece; what was on the tape may be gone afterwards. A tape that is full is begun anew in
   * another engine: one alone keeps all that it ever translated, up to a gigabyte.
   */
  reserve(): void {
    if (this.end + MARGIN < TAPE_SIZE) return;
    this.end = 0;
    this.#engine.close();
    this.#engine = openEngine();
    this.#engine.share(this.#buffer, this.#start);
    this.#context = this.#open();
    this.#empty = true;
  }

  /** The jump that ends a piece. */
  writeEnd(): void {
    this.end = CODE.jump(this.code, this.end, OUT);
  }

  /** Notes a register in the log. Returns the slot. */
  writeLog(register: number, slot: number): number {
    this.end = CODE.store(this.code, this.end, register, AREA + 8 * (LOG_SLOT + slot));
    return slot;
  }

  /** Code that keeps all registers. */
  writeKeep(kept: number): void {
    const slot = KEPT_SLOT + kept * KEPT_SIZE;
    this.end = CODE.keep(this.code, this.end, PLACES, AREA + 8 * slot);
    this.area[2 * (slot + GENERAL)] = TAPE + this.end;
    this.area[2 * (slot + GENERAL) + 1] = 0;
  }

  /** Index in `area` of the registers kept there. */
  keptAt(kept: number): number {
    return 2 * (KEPT_SLOT + kept * KEPT_SIZE);
  }

  /** Runs a piece from an offset, with the registers of `state`, or those of the last run. */
  run(from: number, loaded: boolean): boolean {
    if (!loaded && !this.#empty) return this.resume(TAPE + from);
    this.#empty = false;
    this.area[2 * START_SLOT] = TAPE + from;
    this.area[2 * START_SLOT + 1] = 0;
    return this.resume(STUBS);
  }

  resume(at: number): boolean {
    const stop = this.#engine.runTo(this.#context, at, UNTIL);
    if (stop.kind === 'until') return true;
    // The flags are not known in the middle of what was translated as one; TF could be set.
    this.#context.regs[REGISTERS.flags] = REGISTERS.flagsAtEntry;
    this.faultKind = stop.kind;
    return false;
  }

  /**
   * Offset of the instruction that a run could not do, if it stands behind a jump: the engine knows the address of
   * what it translated as one, not of each instruction in it.
   */
  get faultAt(): number {
    return this.#context.halves[PC] - TAPE;
  }

  close(): void {
    this.#engine.close();
  }
}
