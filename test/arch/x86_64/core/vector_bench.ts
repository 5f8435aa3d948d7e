// Executes assembly in the core, with memory that it reads and writes: for tests of vector instructions.

import { assembleSnippet } from '../../../../src/arch/x86_64/asm/assembler.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { MODULES_VADDR, PAGE_OFFSET } from '../../../../src/guest/addr.ts';
import type { CpuContext, Stop } from '../../../../src/guest/engine.ts';
import { GuestMemory, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';

const TEXT = MODULES_VADDR + 0x1000n;
/** Where rdi points; two pages, and none behind them. */
export const DATA = PAGE_OFFSET;
export const DATA_SIZE = 0x2000;
const MOST = 10_000;

export class VectorBench {
  readonly #engine = new CoreEngine();
  readonly mem = new GuestMemory({ heap: 1 << 20, stacks: 1, modules: 1 << 20 }, this.#engine.allocate);
  readonly context: CpuContext;

  constructor() {
    this.mem.attach(this.#engine);
    this.mem.map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE);
    this.mem.map(TEXT, 0x1000, PROT_READ | PROT_EXEC);
    this.context = this.newContext();
  }

  newContext(): CpuContext {
    return this.#engine.newContext();
  }

  /** Executes code from its first instruction to the hlt behind its last, with DATA in rdi. */
  async run(text: string, context = this.context): Promise<Stop> {
    return this.runBytes(await assembleSnippet(text, TEXT), context);
  }
  runBytes(code: Uint8Array, context = this.context): Stop {
    this.mem.pokeText(TEXT, Uint8Array.from([...code, 0xf4]));
    context.regs[REG.rip] = TEXT;
    context.regs[REG.rdi] = DATA;
    context.touch();
    return this.#engine.run(context, MOST);
  }

  put(at: number, ...words: readonly bigint[]): void {
    words.forEach((word, i) => {
      this.mem.writeU64(DATA + BigInt(at + 8 * i), BigInt.asUintN(64, word));
    });
  }
  get(at: number, count = 1): bigint[] {
    return Array.from({ length: count }, (_, i) => this.mem.readU64(DATA + BigInt(at + 8 * i)));
  }
  bytes(at: number, size: number): string {
    return Buffer.from(this.mem.readBytes(DATA + BigInt(at), size)).toString('hex');
  }
  setBytes(at: number, hex: string): void {
    this.mem.writeBytes(DATA + BigInt(at), Buffer.from(hex, 'hex'));
  }
}
