// Whole functions of modules on two engines: from random registers and memory, up to so many instructions. Calls of
// what is not in the same section return at once, and its data are somewhere in an area of random ones.

import type { ArchEngine } from '../../../../src/arch/engine.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { R_X86_64_PC32, R_X86_64_PLT32 } from '../../../../src/arch/x86_64/module/relocation.ts';
import { SHF_EXECINSTR, STT_FUNC } from '../../../../src/elf/constants.ts';
import type { ElfObject, ElfRelocation } from '../../../../src/elf/elf_object.ts';
import type { ElfSection } from '../../../../src/elf/sections.ts';
import { MODULES_VADDR, PAGE_OFFSET } from '../../../../src/guest/addr.ts';
import type { CpuContext, Stop } from '../../../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { STATUS } from './cases.ts';
import { Draw, seedOf } from './draw.ts';

/** As `ret` and `hlt`: what calls come to, and what the function returns to. */
const STUBS = MODULES_VADDR;
const RET_AT = STUBS;
const HLT_AT = STUBS + 0x800n;
const AREA_BYTES = 0x8000;
/** Data in the reach of relocations, data that pointers lead to, the stack. */
const DATA = MODULES_VADDR + 0x10000n;
const HEAP = PAGE_OFFSET + 0x10000n;
const STACK = PAGE_OFFSET + 0x20000n;
const TEXT = MODULES_VADDR + 0x20000n;
const TABLES = PAGE_OFFSET + 0x80000n;
const AREAS = [DATA, HEAP, STACK];

export interface FunctionText {
  readonly section: string;
  readonly name: string;
  readonly offset: number;
}

/** A section of code whose relocations lead to the areas, and its functions. */
export interface TextImage {
  readonly bytes: Uint8Array;
  readonly functions: readonly FunctionText[];
}

/** Where a relocation leads to: into the section, to the stub of calls, or to some data. */
function placeOf({ symbol, type }: ElfRelocation, section: ElfSection): bigint {
  if (symbol.section === section) return TEXT + symbol.value;
  if (type === R_X86_64_PLT32) return RET_AT;
  return (
    DATA + BigInt(seedOf(symbol.name || String(symbol.shndx)) % (AREA_BYTES / 2)) + (symbol.value & 0xfffn)
  );
}

const insn = new Insn();

/** in, out and their like: where no device is, the core reads ones as a bus does, and Unicorn zeros. */
function usesPorts(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at += insn.length || 1) {
    decodeAt(bytes, at, 0, insn);
    const { opcode, length, vex } = insn;
    if (
      length > 0 &&
      !vex &&
      ((opcode >= 0xe4 && (opcode & 0xf4) === 0xe4) || (opcode & 0xfc) === 0x6c) &&
      opcode < 0x100
    )
      return true;
  }
  return false;
}

export function imagesOf(elf: ElfObject): TextImage[] {
  return elf.sections
    .filter(({ flags, size }) => flags & SHF_EXECINSTR && size > 0)
    .map((section) => {
      const bytes = elf.data(section).slice();
      const view = new DataView(bytes.buffer);
      for (const relocation of elf.relocations(section.index)) {
        const { offset, type, addend } = relocation;
        const value = placeOf(relocation, section) + addend;
        const relative = type === R_X86_64_PC32 || type === R_X86_64_PLT32;
        if (type === 1) view.setBigUint64(offset, BigInt.asUintN(64, value), true);
        else
          view.setInt32(
            offset,
            Number(BigInt.asIntN(32, relative ? value - TEXT - BigInt(offset) : value)),
            true,
          );
      }
      const functions = elf.symbols
        .filter((symbol) => symbol.type === STT_FUNC && symbol.section === section)
        .filter(({ value, size }) => !usesPorts(bytes, Number(value), Number(value) + size))
        .map(({ name, value }) => ({ section: section.name, name, offset: Number(value) }));
      return { bytes, functions };
    });
}

interface Ended extends Pick<Stop, 'kind' | 'executed' | 'faultAddr'> {
  readonly regs: BigUint64Array;
}

/** The CPU port keeps where per-CPU data begin; engines let it be set. */
type Settable = { perCpuBase: bigint };

class FunctionRig {
  readonly mem: GuestMemory;
  readonly #engine: ArchEngine;
  readonly #context: CpuContext;
  #size = 0;

  constructor(make: () => ArchEngine) {
    this.#engine = make();
    this.mem = new GuestMemory({ heap: 1 << 20, stacks: 1, modules: 8 << 20 }, this.#engine.allocate);
    const mem = this.mem;
    mem.attach(this.#engine);
    mem.map(TABLES, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
    this.#engine.loadTables(mem, () => TABLES);
    mem.map(STUBS, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.pokeText(STUBS, new Uint8Array(PAGE_SIZE).fill(0xc3));
    mem.pokeText(HLT_AT, Uint8Array.of(0xf4));
    for (const area of AREAS) mem.map(area, AREA_BYTES, PROT_READ | PROT_WRITE);
    this.#context = this.#engine.newContext();
  }

  load({ bytes }: TextImage): void {
    if (this.#size > 0) this.mem.unmap(TEXT, this.#size);
    this.#size = Math.ceil((bytes.length + 16) / PAGE_SIZE) * PAGE_SIZE;
    this.mem.map(TEXT, this.#size, PROT_READ | PROT_EXEC);
    this.mem.pokeText(TEXT, bytes);
    // What goes on behind the last function is no code.
    this.mem.pokeText(TEXT + BigInt(bytes.length), new Uint8Array(this.#size - bytes.length).fill(0xf4));
  }

  run(regs: BigUint64Array, areas: readonly Uint8Array[], most: number): Ended {
    AREAS.forEach((area, i) => {
      this.mem.writeBytes(area, areas[i]);
    });
    const context = this.#context;
    context.regs.set(regs);
    (context as unknown as Settable).perCpuBase = HEAP;
    context.touch();
    const { kind, executed, faultAddr } = this.#engine.run(context, most);
    return { kind, executed, faultAddr, regs: context.regs.slice() };
  }

  areas(): Uint8Array[] {
    return AREAS.map((area) => this.mem.view(area, AREA_BYTES));
  }

  close(): void {
    this.#engine.close();
  }
}

/** Registers and memory: most words lead into the areas. */
function draw(seed: number, entry: bigint): { regs: BigUint64Array; areas: Uint8Array[] } {
  const random = new Draw(seed);
  const pointer = (): bigint => random.oneOf([DATA, HEAP, HEAP]) + BigInt(8 * random.below(AREA_BYTES / 16));
  const regs = BigUint64Array.from({ length: 18 }, () => (random.once(6) ? random.value() : pointer()));
  const areas = AREAS.map(() => {
    const words = new BigUint64Array(random.bytes(AREA_BYTES).buffer);
    for (let i = 0; i < words.length; i++) {
      if (words[i] & 3n) words[i] = HEAP + ((words[i] >> 8n) & BigInt(AREA_BYTES / 2 - 8));
      else if (words[i] & 4n) words[i] >>= 56n;
    }
    return new Uint8Array(words.buffer);
  });
  regs[REG.rip] = entry;
  regs[REG.rsp] = STACK + BigInt(AREA_BYTES / 2);
  regs[REG.rflags] = 2n;
  new DataView(areas[2].buffer).setBigUint64(AREA_BYTES / 2, HLT_AT, true);
  return { regs, areas };
}

export interface FunctionDifference {
  readonly name: string;
  readonly seed: number;
  readonly said: readonly string[];
}

export interface FunctionTally {
  states: number;
  instructions: number;
  /** How runs ended. */
  readonly kinds: Map<string, number>;
  readonly differences: FunctionDifference[];
}

const NAMES = Object.keys(REG);

const isCanonical = (addr: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, addr)) === addr;

/** The judge has no addresses that are not canonical: it goes there, or calls the fault one of a page. */
const isKnown = (a: Ended, b: Ended): boolean =>
  a.kind === 'exception' && b.kind === 'page fault' && !isCanonical(b.faultAddr);

/** Flags are compared by what they decide: after the last instruction some are undefined. */
function differ(a: Ended, b: Ended): string[] {
  const said: string[] = [];
  if (a.kind !== b.kind) said.push(`stop ${a.kind} / ${b.kind}`);
  if (a.executed !== b.executed) said.push(`executed ${a.executed} / ${b.executed}`);
  for (let i = 0; i < 17; i++) {
    if (a.regs[i] !== b.regs[i])
      said.push(`${NAMES[i]} 0x${a.regs[i].toString(16)} / 0x${b.regs[i].toString(16)}`);
  }
  if ((a.regs[REG.rflags] ^ b.regs[REG.rflags]) & ~BigInt(STATUS) & 0x200cd7n)
    said.push('flags that are no status');
  return said;
}

export class FunctionCourt {
  readonly #rigs: readonly [FunctionRig, FunctionRig];
  readonly tally: FunctionTally = { states: 0, instructions: 0, kinds: new Map(), differences: [] };

  constructor(subject: () => ArchEngine, judge: () => ArchEngine) {
    this.#rigs = [new FunctionRig(subject), new FunctionRig(judge)];
  }

  /** @param states of each function @param most instructions */
  hear(file: string, image: TextImage, states: number, most: number): void {
    for (const rig of this.#rigs) rig.load(image);
    for (const { name, offset } of image.functions) {
      for (let i = 0; i < states; i++) this.#hearState(`${file} ${name}`, offset, i, most);
    }
  }

  #hearState(name: string, offset: number, number: number, most: number): void {
    const seed = (seedOf(name) + number) >>> 0;
    const { regs, areas } = draw(seed, TEXT + BigInt(offset));
    const [a, b] = this.#rigs.map((rig) => rig.run(regs, areas, most));
    const said = isKnown(a, b) ? [] : differ(a, b);
    const others = this.#rigs[1].areas();
    this.#rigs[0].areas().forEach((bytes, area) => {
      if (!isKnown(a, b) && Buffer.compare(bytes, others[area]) !== 0)
        said.push(`memory of the area ${area}`);
    });
    const { tally } = this;
    tally.states++;
    tally.instructions += a.executed;
    tally.kinds.set(a.kind, (tally.kinds.get(a.kind) ?? 0) + 1);
    if (said.length > 0) tally.differences.push({ name, seed, said });
  }

  close(): void {
    for (const rig of this.#rigs) rig.close();
  }
}
