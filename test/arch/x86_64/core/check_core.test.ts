// The core as the check uses it: an instruction at a time, each as a whole.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleSnippet } from '../../../../src/arch/x86_64/asm/assembler.ts';
import { CheckCore } from '../../../../src/arch/x86_64/check/core.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { PAGE_OFFSET } from '../../../../src/guest/addr.ts';
import { GuestMemory, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';

const TEXT = 0x1000n;
const core = new CheckCore();
let mem: GuestMemory;

beforeAll(() => {
  mem = new GuestMemory({ heap: 1 << 20, stacks: 1 }, core.allocate);
  mem.attach(core);
  mem.map(PAGE_OFFSET, 0x1000, PROT_READ | PROT_WRITE);
});
afterAll(() => core.close());

async function step(text: string, rcx: bigint) {
  const bytes = await assembleSnippet(text, TEXT);
  const context = core.newContext();
  core.reset();
  context.regs[REG.rcx] = rcx;
  context.regs[REG.rdi] = PAGE_OFFSET;
  context.regs[REG.rsi] = PAGE_OFFSET;
  context.touch();
  const stop = core.step(context, decodeAt(bytes, 0, 0, new Insn()), bytes, 0, TEXT);
  return { stop, regs: context.regs };
}

describe('a repeated instruction', () => {
  it.each(['rep insb', 'rep outsb', 'rep stosb', 'rep movsb'])(
    'is executed to its last repetition: %s',
    async (text) => {
      const { stop, regs } = await step(text, 5n);
      expect(stop).toBeUndefined();
      const pointer = text === 'rep outsb' ? REG.rsi : REG.rdi;
      expect([regs[REG.rcx], regs[pointer]]).toEqual([0n, PAGE_OFFSET + 5n]);
    },
  );

  it.each(['rep insb', 'rep outsb'])('ends at the page that is not there: %s', async (text) => {
    const { stop, regs } = await step(text, 0x1001n);
    expect([stop, regs[REG.rcx]]).toEqual(['page fault', 1n]);
  });
});
