// What counts as an instruction that the core executes, and how many of modules are.

import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { coverageOf } from './coverage.ts';
import { percent } from './coverage_main.ts';
import { Executor } from './executor.ts';

const MODULES = fileURLToPath(new URL('../../../../fixtures/modules/', import.meta.url));

it('an instruction is executed where it is not #UD', () => {
  const executor = new Executor();
  const executes = (hex: string): boolean => {
    const bytes = new Uint8Array(32);
    bytes.set(Buffer.from(hex, 'hex'));
    return executor.executes(decodeAt(bytes, 0, 0, new Insn()), bytes, 0);
  };
  // add, ud2, rdmsr, in, vpxor, vaesenc of EVEX
  for (const hex of ['01c8', '0f0b', '0f32', 'ec', 'c5f9efc0', '62f27548dcc0'])
    expect(executes(hex), hex).toBe(true);
  // vmcall, vfmadd132ps, vmread, mwait, movq mm0, mm0
  for (const hex of ['0f01c1', 'c4e27198c0', '0f78c0', '0f01c9', '0f6fc0'])
    expect(executes(hex), hex).toBe(false);
});

it('all instructions of the modules of the fixtures are executed, and each is counted', () => {
  const { modules, instructions, data, lacking } = coverageOf(MODULES);
  expect({ data, lacking }).toEqual({ data: 0, lacking: {} });
  expect(modules).toBeGreaterThan(20);
  expect(instructions).toBeGreaterThan(5000);
});

it('a share is never rounded up to all', () => {
  expect(percent(9_999_999, 10_000_000)).toBe('99.9999 %');
  expect(percent(99_999_999, 100_000_000)).toBe('99.9999 %');
  expect(percent(5, 5)).toBe('100.0000 %');
});
