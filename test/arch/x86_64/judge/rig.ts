// An engine with nothing but a state's memory, that is put into a state and executes one instruction.

import type { ArchEngine } from '../../../../src/arch/engine.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { CpuContext, Stop } from '../../../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import type { Case } from './cases.ts';
import type { Form } from './form.ts';
import { areasOf, initialBytes, KERNEL, type Place, READABLE, SEGMENTS, USER, WRITABLE } from './layout.ts';
import { shapeOf } from './vectors.ts';

/** Instead of what an engine needs of the kernel's image: its tables. */
const TABLES = KERNEL.far + 0x80000n;
/** Where vector registers are loaded from and saved to. */
const VECTORS: ReadonlyMap<Place, bigint> = new Map(
  [KERNEL, USER].map((place) => [place, place.far + 0xa0000n]),
);
/** In the page of code, behind what is judged. */
const MOVES = [
  { bytes: 16, load: 0x800n, save: 0x900n },
  { bytes: 32, load: 0xa00n, save: 0xb00n },
  { bytes: 64, load: 0xc00n, save: 0xe00n },
] as const;

const HLT = 0xf4;
/** Repetitions that a case can ask for, and more. */
const MOST = 64;
/** All of the page that is not the instruction: Unicorn translates what comes behind it, too, and must not meet remains. */
const NOTHING = new Uint8Array(144).fill(HLT);

export interface Outcome {
  readonly kind: Stop['kind'] | 'engine error';
  readonly executed: number;
  readonly fault: string | undefined;
  readonly regs: BigUint64Array;
  /** As the case has them, where an instruction of the form can have written one. */
  readonly vectors: Uint8Array | undefined;
}

/**
 * movups or vmovups between memory at [rsi] and each vector register; 0x10 loads, 0x11 stores. And kmovq of each mask.
 * @param bytes of a register
 */
function moves(opcode: number, bytes: number): Uint8Array {
  const code: number[] = [];
  const { count, masks } = shapeOf({ registers: REGISTERS[bytes] } as Form);
  const operand = (i: number, at: number): number[] => [0x86 | ((i & 7) << 3), at & 0xff, at >> 8, 0, 0];
  for (let i = 0; i < count; i++) {
    const short = i & 8 ? [0x44, 0x0f] : [0x0f];
    const wide = [0xc5, i & 8 ? 0x7c : 0xfc];
    const widest = [0x62, 0x61 | (i & 8 ? 0 : 0x80) | (i & 16 ? 0 : 0x10), 0x7c, 0x48];
    code.push(...({ 16: short, 32: wide, 64: widest }[bytes] as number[]), opcode, ...operand(i, bytes * i));
  }
  for (let i = 0; i < masks; i++)
    code.push(0xc4, 0xe1, 0xf8, opcode === 0x10 ? 0x90 : 0x91, ...operand(i, bytes * count + 8 * i));
  return Uint8Array.from(code);
}

const REGISTERS: Readonly<Record<number, Form['registers']>> = { 16: 'xmm', 32: 'ymm', 64: 'zmm' };

interface Area {
  readonly offset: number;
  readonly initial: Uint8Array;
}

export class Rig {
  readonly name: string;
  readonly mem: GuestMemory;
  readonly #engine: ArchEngine;
  readonly #contexts = new Map<Place, CpuContext>();
  readonly #areas = new Map<Place, readonly Area[]>();

  constructor(name: string, make: () => ArchEngine) {
    this.name = name;
    this.#engine = make();
    const mem = new GuestMemory({ heap: 1 << 20, stacks: 1, modules: PAGE_SIZE }, this.#engine.allocate);
    mem.attach(this.#engine);
    this.mem = mem;
    mem.map(TABLES, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
    this.#engine.loadTables(mem, () => TABLES);
    for (const place of [KERNEL, USER]) this.#furnish(place);
  }

  #furnish(place: Place): void {
    const mem = this.mem;
    mem.map(place.code, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.map(VECTORS.get(place) as bigint, PAGE_SIZE, PROT_READ | PROT_WRITE);
    mem.pokeText(place.code, new Uint8Array(PAGE_SIZE).fill(HLT));
    for (const { bytes, load, save } of MOVES) {
      mem.pokeText(place.code + load, moves(0x10, bytes));
      mem.pokeText(place.code + save, moves(0x11, bytes));
    }
    const areas = areasOf(place).map((base): Area => {
      const initial = initialBytes(base);
      mem.map(base, WRITABLE, PROT_READ | PROT_WRITE);
      mem.map(base + BigInt(WRITABLE), PAGE_SIZE, PROT_READ | PROT_WRITE);
      mem.writeBytes(base, initial);
      mem.protect(base + BigInt(WRITABLE), PAGE_SIZE, PROT_READ);
      return { offset: mem.offsetOf(base, READABLE), initial };
    });
    this.#areas.set(place, areas);
    const context = this.#engine.newContext();
    this.#setBases(context);
    context.setUserMode(place.user);
    this.#contexts.set(place, context);
  }

  /** Of the two segments that have one: by wrmsr, which the kernel executes. */
  #setBases(context: CpuContext): void {
    const { code } = KERNEL;
    this.mem.pokeText(code, Uint8Array.of(0x0f, 0x30));
    for (const [msr, { base }] of [
      [0xc0000100n, SEGMENTS.fs],
      [0xc0000101n, SEGMENTS.gs],
    ] as const) {
      context.regs[REG.rip] = code;
      context.regs[REG.rcx] = msr;
      context.regs[REG.rax] = base & 0xffffffffn;
      context.regs[REG.rdx] = base >> 32n;
      context.regs[REG.rflags] = 2n;
      context.touch();
      const { kind } = this.#engine.run(context, 1);
      if (kind !== 'budget') throw new Error(`wrmsr: ${kind}`);
    }
    context.perCpuBase = SEGMENTS.gs.base;
    this.mem.pokeText(code, NOTHING.subarray(0, 2));
  }

  execute(one: Case): Outcome {
    const { place } = one;
    const context = this.#contexts.get(place) as CpuContext;
    const mem = this.mem;
    const moves = MOVES.find(({ bytes }) => REGISTERS[bytes] === one.form.registers);
    const lacks = moves && this.#moveVectors(place, context, moves.load, one.form, one.vectors);
    if (lacks)
      return { kind: 'engine error', executed: 0, fault: lacks, regs: one.regs.slice(), vectors: undefined };
    const at = one.regs[REG.rip];
    mem.pokeText(at, one.bytes);
    for (const { addr, bytes } of one.windows) mem.writeBytes(addr, bytes);
    context.regs.set(one.regs);
    context.touch();
    const outcome = this.#run(
      context,
      one.form.repeat === 'repe' || one.form.repeat === 'repne',
      one.steps ?? 1,
    );
    mem.pokeText(at, NOTHING.subarray(0, one.bytes.length));
    if (!moves) return outcome;
    this.#moveVectors(place, context, moves.save, one.form);
    return { ...outcome, vectors: mem.readBytes(VECTORS.get(place) as bigint, one.vectors.length) };
  }

  /** @returns why they cannot be moved */
  #moveVectors(
    place: Place,
    context: CpuContext,
    code: bigint,
    form: Form,
    values?: Uint8Array,
  ): string | undefined {
    const at = VECTORS.get(place) as bigint;
    if (values) this.mem.writeBytes(at, values);
    context.regs.fill(0n);
    context.regs[REG.rip] = place.code + code;
    context.regs[REG.rsi] = at;
    context.regs[REG.rflags] = 2n;
    context.touch();
    const { count, masks } = shapeOf(form);
    const { kind } = this.#engine.run(context, count + masks);
    return kind === 'budget' ? undefined : `movups: ${kind}`;
  }

  /** @param repeats until it is behind the instruction: one repetition is one that is counted */
  #run(context: CpuContext, repeats: boolean, steps: number): Outcome {
    const at = context.regs[REG.rip];
    try {
      let stop = this.#engine.run(context, steps);
      let before = 0;
      while (repeats && stop.kind === 'budget' && context.regs[REG.rip] === at && before < MOST) {
        before += stop.executed;
        stop = this.#engine.run(context, 1);
      }
      const { kind, faultAddr, access, unmapped } = stop;
      const executed = before + stop.executed;
      const fault =
        kind === 'page fault'
          ? `${access} 0x${faultAddr.toString(16)}${unmapped ? '' : ' protected'}`
          : undefined;
      return { kind, executed, fault, regs: context.regs.slice(), vectors: undefined };
    } catch (error) {
      return {
        kind: 'engine error',
        executed: 0,
        fault: String(error),
        regs: context.regs.slice(),
        vectors: undefined,
      };
    }
  }

  /** The bytes that an instruction can have changed. */
  memoryOf(place: Place): readonly Uint8Array[] {
    return (this.#areas.get(place) as Area[]).map(({ offset }) =>
      this.mem.u8.subarray(offset, offset + READABLE),
    );
  }

  /** Memory as it was before the first state. */
  restore(place: Place): void {
    for (const { offset, initial } of this.#areas.get(place) as Area[]) this.mem.u8.set(initial, offset);
  }

  close(): void {
    this.#engine.close();
  }
}
