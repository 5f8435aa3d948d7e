// Where a pointer came from by which code goes to memory, or calls.

import { describe, expect, it } from 'vitest';
import { ORIGINS } from '../../../src/arch/x86_64/objtool/origins.ts';

const START = 0x8100_0000;
const func = (...bytes: number[]) => ({ bytes: Uint8Array.from(bytes), start: START });
const object = (behind: number) => ({ kind: 'object', address: START + behind, isPerCpu: false });

/** mov rax, [rip + 0x100] */
const LOAD = [0x48, 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00];
/** mov rdi, [rax + 8] */
const THROUGH = [0x48, 0x8b, 0x78, 0x08];
const RET = 0xc3;

describe('the pointer by which an instruction goes to memory', () => {
  it('is of the object that it was read from, whatever is pushed meanwhile', () => {
    expect(ORIGINS.addressed(func(...LOAD, 0x53, ...THROUGH, RET), START + 8)).toEqual(object(0x107));
  });

  it('is of that object when it was reached through others of it', () => {
    const code = func(...LOAD, ...THROUGH, 0x48, 0x8b, 0x17, RET);
    expect(ORIGINS.addressed(code, START + 11)).toEqual(object(0x107));
  });

  it('is of a field when the object itself is addressed', () => {
    // lea rdx, [rip + 0x40]; mov rdx, [rdx + 0x10]; mov rax, [rdx]
    const code = func(0x48, 0x8d, 0x15, 0x40, 0, 0, 0, 0x48, 0x8b, 0x52, 0x10, 0x48, 0x8b, 0x02, RET);
    expect(ORIGINS.addressed(code, START + 11)).toEqual(object(0x57));
  });

  it('is of a per-CPU object by gs', () => {
    const code = func(0x65, 0x48, 0x8b, 0x04, 0x25, 0x34, 0x12, 0, 0, ...THROUGH, RET);
    expect(ORIGINS.addressed(code, START + 9)).toEqual({ kind: 'object', address: 0x1234, isPerCpu: true });
  });

  it('is an argument where it was handed in, also in a register that a call leaves alone', () => {
    // mov rbx, rsi; call; mov rax, [rbx]
    const code = func(0x48, 0x89, 0xf3, 0x90, 0x90, 0xe8, 0, 1, 0, 0, 0x48, 0x8b, 0x03, RET);
    expect(ORIGINS.addressed(code, START + 10)).toEqual({ kind: 'argument', index: 1 });
  });

  it('is not known behind a call that may change it, nor where two ways bring different ones', () => {
    expect(ORIGINS.addressed(func(...LOAD, 0xe8, 0, 1, 0, 0, ...THROUGH, RET), START + 12)).toBeUndefined();
    // jz over a second load
    const ways = func(...LOAD, 0x74, 0x07, ...LOAD, ...THROUGH, RET);
    expect(ORIGINS.addressed(ways, START + 16)).toBeUndefined();
  });

  it('is not known of code that no direct branch reaches', () => {
    expect(ORIGINS.addressed(func(RET, ...LOAD, ...THROUGH), START + 8)).toBeUndefined();
  });
});

describe('a call', () => {
  it('is of a pointer that was read', () => {
    // call [rip + 0x10]; mov rax, [rip + 0x100]; call rax
    const code = func(0xff, 0x15, 0x10, 0, 0, 0, ...LOAD, 0xff, 0xd0, RET);
    expect(ORIGINS.callee(code, START + 6)).toEqual(object(0x16));
    expect(ORIGINS.callee(code, START + 15)).toEqual(object(0x10d));
    expect(ORIGINS.callee(code, START + 7)).toBeUndefined();
  });

  it('hands on what stands in the register of an argument', () => {
    const code = func(...LOAD, ...THROUGH, 0xe8, 0, 1, 0, 0, RET);
    expect(ORIGINS.argument(code, START + 16, 0)).toEqual(object(0x107));
    expect(ORIGINS.argument(code, START + 16, 1)).toEqual({ kind: 'argument', index: 1 });
  });
});
