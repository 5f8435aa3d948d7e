// Whole functions of modules on two engines: from random registers and memory, up to so many instructions. Calls of
// what is not in the same section return at once, and its data are somewhere in an area of random ones.
//
// Where one of them ends earlier for a reason that is known, both are compared as they are at that point.

import type { ArchEngine } from '../../../../src/arch/engine.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { PAGE_OFFSET } from '../../../../src/guest/addr.ts';
import type { CpuContext, Stop } from '../../../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import { STATUS } from './cases.ts';
import { Draw, seedOf } from './draw.ts';
import {
  AREA_BYTES,
  AREAS,
  DATA,
  type FunctionText,
  HEAP,
  HLT_AT,
  STACK,
  STUBS,
  TEXT,
  type TextImage,
} from './function_images.ts';
import {
  differInNans,
  differInUpperHalf,
  type Ended,
  type KnownEnd,
  knownEnd,
  OTHER_NAN,
  UPPER_HALF,
} from './function_known.ts';

const TABLES = PAGE_OFFSET + 0x80000n;
const HLT = 0xf4;
const RET = 0xc3;
/** Where vector registers are loaded from [rsi] before a run, and saved behind it. */
const LOAD = STUBS + 0xa00n;
const SAVE = STUBS + 0xb00n;
const VECTORS = 16;
/** In the stubs' tables, where nothing else is. */
const VECTORS_AT = TABLES + 0x1000n;

/** The CPU port keeps where per-CPU data begin; engines let it be set. */
type Settable = { perCpuBase: bigint };

/** Where a run begins: registers, and what the areas hold beside their images. */
interface State {
  readonly regs: BigUint64Array;
  readonly images: readonly Uint8Array[];
}

/** movups between [rsi] and each register; 0x10 loads, 0x11 stores. */
const vectorMoves = (opcode: number): Uint8Array =>
  Uint8Array.from(
    Array.from({ length: VECTORS }, (_, i) => [
      i > 7 ? 0x44 : 0x40,
      0x0f,
      opcode,
      0x86 | ((i & 7) << 3),
      16 * i,
      0,
      0,
      0,
    ]).flat(),
  );

class FunctionRig {
  readonly mem: GuestMemory;
  readonly #engine: ArchEngine;
  readonly #context: CpuContext;
  readonly #areas: readonly Uint8Array[];
  readonly #vectors: Uint8Array;
  #size = 0;

  constructor(make: () => ArchEngine) {
    this.#engine = make();
    this.mem = new GuestMemory({ heap: 1 << 20, stacks: 1, modules: 8 << 20 }, this.#engine.allocate);
    const mem = this.mem;
    mem.attach(this.#engine);
    mem.map(TABLES, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
    this.#engine.loadTables(mem, () => TABLES);
    mem.map(STUBS, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.pokeText(STUBS, new Uint8Array(PAGE_SIZE).fill(RET));
    mem.pokeText(HLT_AT, Uint8Array.of(HLT));
    mem.pokeText(LOAD, vectorMoves(0x10));
    mem.pokeText(SAVE, vectorMoves(0x11));
    this.#vectors = mem.view(VECTORS_AT, 16 * VECTORS);
    for (const area of AREAS) mem.map(area, AREA_BYTES, PROT_READ | PROT_WRITE);
    this.#areas = AREAS.map((area) => mem.view(area, AREA_BYTES));
    this.#context = this.#engine.newContext();
  }

  load({ bytes }: TextImage): void {
    if (this.#size > 0) this.mem.unmap(TEXT, this.#size);
    this.#size = Math.ceil((bytes.length + 16) / PAGE_SIZE) * PAGE_SIZE;
    this.mem.map(TEXT, this.#size, PROT_READ | PROT_EXEC);
    this.mem.pokeText(TEXT, bytes);
    // What goes on behind the last function is no code.
    this.mem.pokeText(TEXT + BigInt(bytes.length), new Uint8Array(this.#size - bytes.length).fill(HLT));
  }

  run({ regs, images }: State, most: number): Ended {
    images.forEach((image, i) => {
      this.#areas[i].set(image);
    });
    this.#vectors.set(images[0].subarray(0, 16 * VECTORS));
    this.#moveVectors(LOAD);
    const ended = this.#runFunction(regs, most);
    this.#moveVectors(SAVE);
    return ended;
  }

  #moveVectors(code: bigint): void {
    const context = this.#context;
    context.regs.fill(0n);
    context.regs[REG.rip] = code;
    context.regs[REG.rsi] = VECTORS_AT;
    context.regs[REG.rflags] = 2n;
    context.touch();
    this.#engine.run(context, VECTORS);
  }

  #runFunction(regs: BigUint64Array, most: number): Ended {
    const context = this.#context;
    context.regs.set(regs);
    (context as unknown as Settable).perCpuBase = HEAP;
    context.touch();
    if (most === 0) return { kind: 'budget', executed: 0, faultAddr: 0n, regs };
    const { kind, executed, faultAddr }: Stop = this.#engine.run(context, most);
    return { kind, executed, faultAddr, regs: context.regs.slice() };
  }

  /** What a run can have changed beside the general registers; the last of it are the vector registers. */
  get memory(): readonly Uint8Array[] {
    return [...this.#areas, this.#vectors];
  }

  close(): void {
    this.#engine.close();
  }
}

/** Images of each area that states choose from. */
const IMAGES = 16;
/** Words that are no image's, of each state. */
const CHANGED = 24;

/** Mostly a place that a structure could be at, and a vector operand. */
const pointer = (random: Draw): bigint =>
  random.oneOf([HEAP, HEAP, HEAP, DATA]) +
  (random.once(8) ? BigInt(8 * random.below(AREA_BYTES / 16)) : BigInt(64 * random.below(AREA_BYTES / 128)));

/** Most words lead into the areas, and some of the others are small. */
const word = (random: Draw): bigint => {
  if (!random.once(8)) return pointer(random);
  return random.once(2) ? random.value() : BigInt(random.below(256));
};

function makeImage(seed: number): Uint8Array {
  const random = new Draw(seed);
  const words = BigUint64Array.from({ length: AREA_BYTES / 8 }, () => word(random));
  return new Uint8Array(words.buffer);
}

class States {
  readonly #images = AREAS.map((_, area) =>
    Array.from({ length: IMAGES }, (__, i) => makeImage(seedOf(`${area} ${i}`))),
  );
  readonly #areas = AREAS.map(() => new Uint8Array(AREA_BYTES));
  readonly #words = this.#areas.map(({ buffer }) => new BigUint64Array(buffer));

  /** The state of a seed, at a function; valid until the next. */
  draw(seed: number, entry: bigint): State {
    const random = new Draw(seed);
    const regs = BigUint64Array.from({ length: 18 }, () =>
      random.once(12) ? random.value() : pointer(random),
    );
    this.#areas.forEach((area, i) => {
      area.set(this.#images[i][random.below(IMAGES)]);
    });
    for (let i = 0; i < CHANGED; i++) {
      this.#words[random.below(AREAS.length)][random.below(AREA_BYTES / 8)] = word(random);
    }
    regs[REG.rip] = entry;
    // As behind a call: 8 above a multiple of 16.
    regs[REG.rsp] = STACK + BigInt(AREA_BYTES / 2 + 8);
    regs[REG.rflags] = 2n;
    this.#words[2][AREA_BYTES / 16 + 1] = HLT_AT;
    return { regs, images: this.#areas };
  }
}

export interface FunctionDifference {
  readonly name: string;
  readonly seed: number;
  readonly said: readonly string[];
}

export interface FunctionTally {
  functions: number;
  states: number;
  instructions: number;
  /** How runs ended. */
  readonly kinds: Map<string, number>;
  /** Runs that ended otherwise for a reason that is known, by it: as far as both came they are alike. */
  readonly known: Map<string, number>;
  readonly differences: FunctionDifference[];
}

const newTally = (): FunctionTally => ({
  functions: 0,
  states: 0,
  instructions: 0,
  kinds: new Map(),
  known: new Map(),
  differences: [],
});

const NAMES = Object.keys(REG);
const MEMORY = ['data', 'heap', 'stack', 'vector registers'];

/** Flags are compared by what they decide: after the last instruction some are undefined. */
const NO_STATUS = ~BigInt(STATUS) & 0x200cd7n;

/** @param known why they need not end alike */
function differ(a: Ended, b: Ended, known: KnownEnd | undefined): string[] {
  const said: string[] = [];
  if (!known && a.kind !== b.kind) said.push(`stop ${a.kind} / ${b.kind}`);
  if (!known && a.executed !== b.executed) said.push(`executed ${a.executed} / ${b.executed}`);
  if (!known && a.kind === 'page fault' && a.faultAddr !== b.faultAddr)
    said.push(`fault at 0x${a.faultAddr.toString(16)} / 0x${b.faultAddr.toString(16)}`);
  for (let i = 0; i < 17; i++) {
    if (a.regs[i] !== b.regs[i])
      said.push(`${NAMES[i]} 0x${a.regs[i].toString(16)} / 0x${b.regs[i].toString(16)}`);
  }
  if ((a.regs[REG.rflags] ^ b.regs[REG.rflags]) & NO_STATUS) said.push('flags that are no status');
  return said;
}

const count = (into: Map<string, number>, name: string): unknown => into.set(name, (into.get(name) ?? 0) + 1);

export class FunctionCourt {
  readonly #subject: FunctionRig;
  readonly #judge: FunctionRig;
  readonly #states = new States();
  #tally = newTally();

  constructor(subject: () => ArchEngine, judge: () => ArchEngine) {
    this.#subject = new FunctionRig(subject);
    this.#judge = new FunctionRig(judge);
  }

  /** @param states of each function @param most instructions @param isHeard it is told of each before it is executed */
  hear(
    file: string,
    image: TextImage,
    states: number,
    most: number,
    isHeard: (name: string) => boolean,
  ): void {
    this.#subject.load(image);
    this.#judge.load(image);
    for (const func of image.functions) {
      const { name } = func;
      if (!isHeard(name)) continue;
      this.#tally.functions++;
      for (let i = 0; i < states; i++) this.#hearState(`${file} ${name}`, image, func, i, most);
    }
  }

  #hearState(name: string, image: TextImage, func: FunctionText, number: number, most: number): void {
    const seed = (seedOf(name) + Math.imul(number, 0x9e3779b1)) >>> 0;
    const state = this.#states.draw(seed, TEXT + BigInt(func.offset));
    let a = this.#subject.run(state, most);
    let b = this.#judge.run(state, most);
    const tally = this.#tally;
    tally.states++;
    tally.instructions += a.executed;
    count(tally.kinds, a.kind);
    const known = a.kind === b.kind && a.executed === b.executed ? undefined : knownEnd(a, b, image.bytes);
    if (known) {
      count(tally.known, known.name);
      const common = Math.min(a.executed, b.executed);
      if (a.executed > common) a = this.#subject.run(state, common);
      if (b.executed > common) b = this.#judge.run(state, common);
    }
    const inMemory = this.#memoryDifferences();
    const said = [...differ(a, b, known), ...inMemory];
    if (said.length === 0) return;
    const why = known ? undefined : this.#explained(a, b, inMemory.length > 0, image, func);
    if (why) count(tally.known, why.name);
    else tally.differences.push({ name, seed, said });
  }

  /** What else than its end is known to be another. */
  #explained(
    a: Ended,
    b: Ended,
    inMemory: boolean,
    { bytes, computes }: TextImage,
    { offset, size }: FunctionText,
  ): Pick<KnownEnd, 'name'> | undefined {
    if (computes && differInNans(a, b, this.#subject.memory, this.#judge.memory)) return OTHER_NAN;
    if (!inMemory && differInUpperHalf(a, b, bytes.subarray(offset, offset + size))) return UPPER_HALF;
    return undefined;
  }

  /** What was found since it was asked last. */
  take(): FunctionTally {
    const tally = this.#tally;
    this.#tally = newTally();
    return tally;
  }

  #memoryDifferences(): string[] {
    const others = this.#judge.memory;
    return this.#subject.memory.flatMap((bytes, i) => {
      if (Buffer.compare(bytes, others[i]) === 0) return [];
      const at = bytes.findIndex((byte, k) => byte !== others[i][k]);
      return [`${MEMORY[i]} from 0x${at.toString(16)} on`];
    });
  }

  close(): void {
    this.#subject.close();
    this.#judge.close();
  }
}
