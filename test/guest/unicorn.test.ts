import { afterEach, describe, expect, it } from 'vitest';
import { MODULES_VADDR } from '../../src/guest/addr.ts';
import { REG } from '../../src/guest/engine.ts';
import { GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { UnicornEngine } from '../../src/guest/unicorn.ts';

const PAGES = 3 * PAGE_SIZE;

describe('UnicornEngine', () => {
  let engine: UnicornEngine | undefined;
  afterEach(() => engine?.close());

  it('runs the text that was mapped last at an address, not what was there before', () => {
    let memory: GuestMemory | undefined;
    engine = new UnicornEngine((addr) => memory?.readU8(addr) ?? -1);
    memory = new GuestMemory({ heap: 1 << 20, stacks: 4 }, engine.allocate);
    memory.attach(engine);
    const context = engine.newContext();
    // In the last of several pages: each of them has to be thought of.
    const at = MODULES_VADDR + BigInt(PAGES - 16);
    for (const value of [1, 2, 3]) {
      memory.map(MODULES_VADDR, PAGES, PROT_READ | PROT_WRITE);
      memory.writeBytes(at, Uint8Array.of(0xb8, value, 0, 0, 0, 0xf4)); // mov eax, value; hlt
      memory.protect(MODULES_VADDR, PAGES, PROT_READ | PROT_EXEC);
      context.regs[REG.rip] = at;
      context.touch();
      expect(engine.run(context, 10).kind).toBe('hlt');
      expect(context.regs[REG.rax]).toBe(BigInt(value));
      memory.protect(MODULES_VADDR, PAGES, PROT_READ | PROT_WRITE);
      memory.unmap(MODULES_VADDR, PAGES);
    }
  });
});
