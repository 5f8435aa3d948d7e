// An image in memory over a port's engine, and what a port may ask of a kernel; no machine, no model of the kernel.
// What a port promises of hardware and of guest code is tried on it (contract_running.ts).

import type { Arch } from '../../src/arch/arch.ts';
import type { ArchEngine, EngineName } from '../../src/arch/engine.ts';
import type { KernelSide } from '../../src/arch/kernel_side.ts';
import type { Processor } from '../../src/arch/processor.ts';
import { ptRegsSize } from '../../src/arch/pt_regs.ts';
import { assembleSnippetFor } from '../../src/asm/assembler.ts';
import {
  type Addr,
  fromHalves,
  MODULES_VADDR,
  STACK_HI,
  STACK_SLOT,
  THREAD_SIZE,
} from '../../src/guest/addr.ts';
import type { CpuContext, Stop } from '../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import type { Kallsyms } from '../../src/kernel/kallsyms.ts';
import { PerCpu } from '../../src/kernel/percpu.ts';
import { Slab } from '../../src/kernel/slab.ts';
import { imageSymbols, imageText, mapImage, percpuTemplate } from '../../src/machine/boot/boot.ts';
import type { KernelImage } from '../../src/machine/boot/image.ts';

/** Where code of a test goes. */
export const CODE = MODULES_VADDR + 0x2000n;

/** One emulated CPU that has come up, on a stack of its own. */
export interface BareCpu {
  readonly context: CpuContext;
  readonly processor: Processor;
  /** Where its processor said that a struct pt_regs begins, the last one last. */
  readonly told: Addr[];
  /** Its stack's lowest address, and the address behind its highest. */
  readonly base: Addr;
  readonly top: Addr;
  /** The stack pointer with which it was started. */
  readonly sp: Addr;
}

export class BareKernel implements KernelSide {
  readonly arch: Arch;
  readonly image: KernelImage;
  readonly engine: ArchEngine;
  readonly mem: GuestMemory;
  readonly symbols: Kallsyms;
  readonly percpu: PerCpu;
  readonly slab: Slab;
  #stacks = 0;
  #cpu: { context: CpuContext; base: Addr; exceptions: Addr } | undefined;

  constructor(arch: Arch, image: KernelImage, engine: EngineName) {
    this.arch = arch;
    this.image = image;
    this.engine = arch.makeEngine(engine);
    const mem = new GuestMemory({ heap: 1 << 20, stacks: 16, modules: 1 << 20 }, this.engine.allocate);
    mem.attach(this.engine);
    mapImage(mem, image.asm);
    this.symbols = imageSymbols(image.asm);
    this.engine.loadTables(mem, (name) => this.symbols.require(name));
    this.slab = new Slab(mem);
    const { bytes, symbols } = percpuTemplate(image.asm);
    this.percpu = new PerCpu(mem, this.slab, bytes, 1, symbols);
    mem.map(CODE, PAGE_SIZE, PROT_READ | PROT_EXEC);
    this.mem = mem;
  }

  close(): void {
    this.engine.close();
  }

  /** A stack that nobody is on. @returns its lowest address */
  makeStack(): Addr {
    const base = fromHalves(STACK_HI, this.#stacks++ * STACK_SLOT + STACK_SLOT - THREAD_SIZE);
    this.mem.map(base, THREAD_SIZE, PROT_READ | PROT_WRITE);
    return base;
  }

  /** CPU 0, as it is when its processor has started it. There is one: it starts anew each time. */
  startCpu(): BareCpu {
    this.#cpu ??= { context: this.engine.newContext(), base: this.makeStack(), exceptions: this.makeStack() };
    const { context, base, exceptions } = this.#cpu;
    context.setUserMode(false);
    const told: Addr[] = [];
    const interrupted = (regs: Addr): void => {
      told.push(regs);
    };
    const processor = this.arch.makeProcessor({ id: 0, context, kernel: this, interrupted });
    const top = base + BigInt(THREAD_SIZE);
    const sp = top - BigInt(ptRegsSize(this.arch.ptRegs));
    processor.start({ sp, top, makeStack: () => exceptions + BigInt(THREAD_SIZE) });
    return { context, processor, told, base, top, sp };
  }

  /** Puts code of a test where it is executed. @returns its bytes */
  async code(text: string): Promise<Uint8Array> {
    const bytes = await assembleSnippetFor(await this.arch.assembler(), text, CODE, new Map());
    this.mem.pokeText(CODE, bytes);
    return bytes;
  }

  /** Where the text of the image begins and ends. */
  get text(): readonly [Addr, Addr] {
    return imageText(this.image.asm);
  }

  pc({ regs }: CpuContext): Addr {
    return regs[this.arch.context.pc];
  }
  sp({ regs }: CpuContext): Addr {
    return regs[this.arch.context.sp];
  }
  set(context: CpuContext, values: Readonly<Record<number, bigint>>): void {
    for (const [reg, value] of Object.entries(values)) context.regs[Number(reg)] = value;
    context.touch();
  }

  /** Executes until `done`, an instruction at a time. @returns whether it came to that */
  stepUntil(context: CpuContext, done: () => boolean, most: number): boolean {
    for (let i = 0; i < most; i++) {
      if (done()) return true;
      const stop: Stop = this.engine.run(context, 1);
      if (stop.kind !== 'budget') return done();
    }
    return done();
  }
}
