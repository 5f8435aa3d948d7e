// The core as a check opens it, an instruction at a time.

import { describe, expect, it } from 'vitest';
import { CheckCore } from '../../src/arch/x86_64/check/core.ts';
import { REG, type RegName } from '../../src/arch/x86_64/context.ts';
import { decodeAt, Insn } from '../../src/isa/decoder.ts';

const BLOCK = 0x10000;
const BASE = 0xffffffffc0001000n;

function machine() {
  const engine = new CheckCore();
  const { buffer, start } = engine.allocate(BLOCK);
  engine.mapElsewhere([], BLOCK, 0);
  const context = engine.newContext();
  const memory = new DataView(buffer, start, BLOCK);
  const step = (hex: string, registers: Partial<Record<RegName, bigint>> = {}) => {
    for (const [name, value] of Object.entries(registers)) context.regs[REG[name as RegName]] = value;
    const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
    const insn = decodeAt(bytes, 0, 0, new Insn());
    expect(insn.length).toBe(bytes.length);
    return engine.step(context, insn, bytes, 0, BASE);
  };
  return { step, memory, regs: context.regs, reset: () => engine.reset() };
}

describe('an instruction of a check', () => {
  it('finds the machine as it was made, after a reset, whatever was done to it', () => {
    const { step, reset } = machine();
    reset();
    // ldmxcsr of 0, so that every exception is raised; then 0 / 0.
    step('0f57c0');
    expect(step('0fae17', { rdi: 0x3000n })).toBeUndefined();
    expect(step('f30f5ec0')).toBe('floating point');
    reset();
    expect(step('f30f5ec0')).toBeUndefined();
  });

  it('finds memory at every address, the same again and again', () => {
    const { step, memory, regs } = machine();
    memory.setBigUint64(0x1230, 0x1122334455667788n, true);
    for (const high of [0n, 0x12345n, 0xffff8880n, 0xffffffffn]) {
      expect(step('488b07', { rdi: (high << 32n) | 0xabc21230n, rax: 0n })).toBeUndefined();
      expect(regs[REG.rax]).toBe(0x1122334455667788n);
    }
  });

  it('is repeated as often as it says', () => {
    const { step, memory, regs } = machine();
    expect(step('f348ab', { rdi: 0x2000n, rax: 0x55n, rcx: 5n })).toBeUndefined();
    expect([regs[REG.rcx], regs[REG.rdi]]).toEqual([0n, 0x2028n]);
    expect(memory.getBigUint64(0x2020, true)).toBe(0x55n);
    expect(memory.getBigUint64(0x2028, true)).toBe(0n);
  });

  it.each([
    ['in al, dx', 'ec', 0x11223344556677ffn],
    ['in ax, dx', '66ed', 0x112233445566ffffn],
    ['in eax, dx', 'ed', 0xffffffffn],
    ['in al, 0x60', 'e460', 0x11223344556677ffn],
    ['out dx, eax', 'ef', 0x1122334455667788n],
  ])('%s meets no device', (_, hex, rax) => {
    const { step, regs } = machine();
    expect(step(hex, { rax: 0x1122334455667788n, rdx: 0x3f8n })).toBeUndefined();
    expect(regs[REG.rax]).toBe(rax);
  });

  it.each([
    ['a division by zero', '48f7f1', 'exception'],
    ['ud2', '0f0b', 'undefined instruction'],
    ['lock on what cannot have it', 'f04889c0', 'undefined instruction'],
    ['a far jump through a register', 'ffe8', 'undefined instruction'],
    ['vmread', '0f78c0', 'undefined instruction'],
  ])('%s ends it, and nothing else', (_, hex, stop) => {
    const { step, regs } = machine();
    expect(step(hex, { rcx: 0n, rax: 1n })).toBe(stop);
    expect(step('48ffc0')).toBeUndefined();
    expect(regs[REG.rax]).toBe(2n);
  });
});
