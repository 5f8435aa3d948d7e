// The CPU port and memory with nothing else: a page of text, a page of data, a stack, a GDT.

import type { ArchEngine, EngineName } from '../../src/arch/engine.ts';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { REG, type RegName } from '../../src/arch/x86_64/context.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { VMALLOC_START } from '../../src/guest/addr.ts';
import type { CpuContext, Stop } from '../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { USER_STACK_BASE, USER_TEXT_BASE } from '../../src/guest/windows.ts';

import { NO_UNICORN } from './unicorn_there.ts';

export const TEXT = 0xffffffff81000000n;
export const RODATA = TEXT + 0x2000n;
export const DATA = 0xffff888000001000n;
export const STACK_TOP = VMALLOC_START + 0x8000n;
export const USER_STACK = USER_STACK_BASE + 0x1000n;
/** What can execute here. */
export const ENGINES: readonly EngineName[] = NO_UNICORN ? ['core'] : ['core', 'unicorn'];

const GDT_AT = DATA + 0x8000n;

export class Bare {
  readonly engine: ArchEngine;
  readonly mem: GuestMemory;

  constructor(engine: EngineName = 'core', { apart = false } = {}) {
    this.engine = X86_64.makeEngine(engine);
    if (apart) this.engine.keepApart?.();
    const mem = new GuestMemory({ heap: 1 << 20, stacks: 80 }, this.engine.allocate);
    mem.attach(this.engine);
    this.mem = mem;
    mem.map(TEXT, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.map(RODATA, PAGE_SIZE, PROT_READ);
    mem.map(DATA, 16 * PAGE_SIZE, PROT_READ | PROT_WRITE);
    mem.map(STACK_TOP - 0x4000n, 0x4000, PROT_READ | PROT_WRITE);
    mem.map(USER_TEXT_BASE, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.map(USER_STACK_BASE, PAGE_SIZE, PROT_READ | PROT_WRITE);
    this.engine.loadTables(mem, () => GDT_AT);
  }

  /** Puts code at an address (TEXT without one). */
  async code(text: string, addr = TEXT): Promise<void> {
    this.mem.pokeText(addr, await assembleSnippet(text, addr));
  }

  context(regs: Partial<Record<RegName, bigint>> = {}): CpuContext {
    const context = this.engine.newContext();
    context.regs.fill(0n);
    for (const [name, value] of Object.entries({ rip: TEXT, rsp: STACK_TOP, rflags: 2n, ...regs })) {
      context.regs[REG[name as RegName]] = value;
    }
    context.touch();
    return context;
  }

  /** A copy of why the run ended: the engine's own object is valid until its next run. */
  run(context: CpuContext, max: number): Stop {
    return { ...this.engine.run(context, max) };
  }

  close(): void {
    this.engine.close();
  }
}
