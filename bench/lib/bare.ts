// The engine without a machine around it: some bytes of code, some memory, one run. What the machine's own
// speed is held against.

import type { ArchEngine, EngineName } from '../../src/arch/engine.ts';
import { REG } from '../../src/arch/x86_64/context.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { CpuContext } from '../../src/guest/engine.ts';
import { GuestMemory, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import type { Observer } from '../../src/guest/observer.ts';

export const DATA = 0xffff888000001000n;
const STACK_TOP = DATA + 0x1000n;
/** A budget that the engine does not count to: it runs until a hlt. */
const UNCOUNTED = 0;

export class BareEngine {
  readonly #engine: ArchEngine;
  readonly #context: CpuContext;
  readonly #start: bigint;

  /** The code runs from its first byte, at the address that it has in the machine. */
  constructor(code: Uint8Array, start: bigint, engine: EngineName) {
    this.#engine = X86_64.makeEngine(engine);
    const memory = new GuestMemory({ heap: 1 << 20, stacks: 1 }, this.#engine.allocate);
    memory.attach(this.#engine);
    memory.map(DATA, 4096, PROT_READ | PROT_WRITE);
    this.#engine.loadTables(memory, () => DATA);
    memory.map(start & ~0xfffn, 4096, PROT_READ | PROT_EXEC);
    memory.pokeText(start, code);
    this.#context = this.#engine.newContext();
    this.#start = start;
  }

  /** Undefined for an engine that cannot observe. */
  get observer(): Observer | undefined {
    return this.#engine.observer;
  }

  #reset(rdi: number): void {
    const { regs } = this.#context;
    regs.fill(0n);
    regs[REG.rip] = this.#start;
    regs[REG.rsp] = STACK_TOP;
    regs[REG.rdi] = BigInt(rdi);
    regs[REG.rflags] = 2n;
    this.#context.touch();
  }

  /** One counted run. */
  counted(instructions: number): void {
    this.#reset(0);
    const { executed, kind } = this.#engine.run(this.#context, instructions);
    if (executed !== instructions) throw new Error(`the engine ran ${executed} instructions: ${kind}`);
  }

  /** One run that nobody counts (Unicorn alone can), of code that ends in hlt. @param rdi what tells it how long to run. */
  toHlt(rdi: number): void {
    this.#reset(rdi);
    this.#engine.run(this.#context, UNCOUNTED);
  }

  close(): void {
    this.#engine.close();
  }
}
