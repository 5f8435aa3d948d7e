// An engine with nothing but a state's memory, that is put into a state and executes one instruction.

import type { ArchEngine } from '../../../../src/arch/engine.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { CpuContext, Stop } from '../../../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import type { Case } from './cases.ts';
import type { Form } from './form.ts';
import { areasOf, initialBytes, KERNEL, type Place, READABLE, SEGMENTS, USER, WRITABLE } from './layout.ts';
import { isOfMachine } from './scope.ts';
import { shapeOf } from './vectors.ts';

/** Instead of what an engine needs of the kernel's image: its tables. */
const TABLES = KERNEL.far + 0x80000n;
/** Where vector registers are loaded from and saved to. */
const VECTORS: ReadonlyMap<Place, bigint> = new Map(
  [KERNEL, USER].map((place) => [place, place.far + 0xa0000n]),
);
/** From the page of code on, in one of its own: it stays translated where what is judged changes all the time. */
const OWN_PAGE = 0x2000n;
const MOVES = [
  { bytes: 16, load: OWN_PAGE + 0x800n, save: OWN_PAGE + 0x900n },
  { bytes: 32, load: OWN_PAGE + 0xa00n, save: OWN_PAGE + 0xb00n },
  { bytes: 64, load: OWN_PAGE + 0xc00n, save: OWN_PAGE + 0xe00n },
] as const;
/** Likewise, of the kernel's. */
const RESET = OWN_PAGE + 0x500n;
const RESET_STEPS = 40;

const HLT = 0xf4;
/** Repetitions that a case can ask for, and more. */
const MOST = 64;
/** All of the page that is not the instruction: Unicorn translates what comes behind it, too, and must not meet remains. */
const NOTHING = new Uint8Array(144).fill(HLT);

const MSR = { fs: 0xc0000100n, gs: 0xc0000101n, kernelGs: 0xc0000102n };
const bytesOf = (value: bigint): number[] =>
  Array.from({ length: 4 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
/** mov ecx, eax, edx; wrmsr */
const writeMsr = (msr: bigint, value: bigint): number[] => [
  ...[0xb9, ...bytesOf(msr), 0xb8, ...bytesOf(value), 0xba, ...bytesOf(value >> 32n)],
  ...[0x0f, 0x30],
];
/** Of x87 and SSE, as fxrstor takes it: control words, and zeros. Behind what vector registers take of the page. */
const IMAGE_AT = (VECTORS.get(KERNEL) as bigint) + 0xc00n;
function initialImage(): Uint8Array {
  const image = Buffer.alloc(512);
  image.writeUInt16LE(0x37f, 0);
  image.writeUInt32LE(0x1f80, 24);
  return image;
}
function resetMachine(): Uint8Array {
  return Uint8Array.of(
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8], // xor eax, eax; mov ds, es, fs, gs of it
    ...writeMsr(MSR.fs, SEGMENTS.fs.base),
    ...writeMsr(MSR.gs, SEGMENTS.gs.base),
    ...writeMsr(MSR.kernelGs, 0n),
    ...[0x0f, 0x20, 0xe0, 0x0d, 0, 6, 0, 0, 0x0f, 0x22, 0xe0], // CR4: OSFXSR, OSXMMEXCPT
    ...[0x48, 0xb8, ...bytesOf(IMAGE_AT), ...bytesOf(IMAGE_AT >> 32n), 0x0f, 0xae, 0x08, HLT], // fxrstor of the image
  );
}

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
    mem.map(place.code + OWN_PAGE, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.map(VECTORS.get(place) as bigint, PAGE_SIZE, PROT_READ | PROT_WRITE);
    mem.pokeText(place.code, new Uint8Array(PAGE_SIZE).fill(HLT));
    for (const { bytes, load, save } of MOVES) {
      mem.pokeText(place.code + load, moves(0x10, bytes));
      mem.pokeText(place.code + save, moves(0x11, bytes));
    }
    if (!place.user) {
      mem.pokeText(place.code + RESET, resetMachine());
      mem.writeBytes(IMAGE_AT, initialImage());
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
    this.#resetMachine(context);
    context.setUserMode(place.user);
    this.#contexts.set(place, context);
  }

  /** Selectors, segment bases, control words of x87 and SSE: as every state has them. The kernel executes it. */
  #resetMachine(context: CpuContext): void {
    const { regs } = context;
    regs.fill(0n);
    regs[REG.rip] = KERNEL.code + RESET;
    regs[REG.rflags] = 2n;
    context.touch();
    context.setUserMode(false);
    const { kind } = this.#engine.run(context, RESET_STEPS);
    if (kind !== 'halt') throw new Error(`the machine's state: ${kind}`);
    context.perCpuBase = SEGMENTS.gs.base;
  }

  execute(one: Case): Outcome {
    const { place } = one;
    const context = this.#contexts.get(place) as CpuContext;
    // MXCSR keeps what forms of vectors met: what asks for it must not be told of those before.
    if (isOfMachine(one.form)) this.#resetMachine(context);
    context.setUserMode(place.user);
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
    const judged = moves
      ? { ...outcome, vectors: this.#savedVectors(place, context, moves.save, one) }
      : outcome;
    if (isOfMachine(one.form)) {
      this.#resetMachine(context);
      context.setUserMode(place.user);
    }
    return judged;
  }

  #savedVectors(place: Place, context: CpuContext, code: bigint, { form, vectors }: Case): Uint8Array {
    this.#moveVectors(place, context, code, form);
    return this.mem.readBytes(VECTORS.get(place) as bigint, vectors.length);
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
