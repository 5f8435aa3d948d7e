// What instructions are said to do to rsp and rbp, from their bytes.

import { describe, expect, it } from 'vitest';
import { CHANGES_FP, CHANGES_SP, ODD, PUSHES_FP, STORES_FP } from '../../src/arch/checking.ts';
import { accessesElsewhere, baseOf, effectsOf, stackDelta } from '../../src/arch/x86_64/check/effects.ts';
import { decodeAt, Insn } from '../../src/isa/decoder.ts';

const of = (hex: string): Insn => {
  const bytes = Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  const insn = decodeAt(bytes, 0, 0, new Insn());
  expect(insn.length, hex).toBe(bytes.length);
  return insn;
};

describe('effects on rsp and rbp', () => {
  const cases: readonly [string, string, number, number][] = [
    ['push rbp', '55', CHANGES_SP | PUSHES_FP, -8],
    ['push r13', '4155', CHANGES_SP, -8],
    ['pop rbp', '5d', CHANGES_SP | CHANGES_FP, 8],
    ['pop r13', '415d', CHANGES_SP, 8],
    ['pop rsp', '5c', ODD, 0],
    ['leave', 'c9', CHANGES_SP | CHANGES_FP, 0],
    ['enter 16, 0', 'c8 1000 00', ODD, 0],
    ['sub rsp, 0x18', '4883ec18', CHANGES_SP, -0x18],
    ['add rsp, 0x118', '4881c418010000', CHANGES_SP, 0x118],
    ['and rsp, -16', '4883e4f0', CHANGES_SP, 0],
    ['cmp rsp, 8', '4883fc08', 0, 0],
    ['mov rbp, rsp', '4889e5', CHANGES_FP, 0],
    ['mov rsp, rbp', '4889ec', CHANGES_SP, 0],
    ['mov rax, rsp', '4889e0', 0, 0],
    ['lea rsp, [r10-8]', '498d62f8', CHANGES_SP, 0],
    ['lea rbp, [rsp+8]', '488d6c2408', CHANGES_FP, 0],
    ['mov [rsp+8], rbp', '48896c2408', STORES_FP, 0],
    ['mov [rsp+8], ebp', '896c2408', 0, 0],
    ['mov [rdi], rbp', '48892f', ODD, 0],
    ['mov [rsp+rax*8], rbp', '48892cc4', ODD, 0],
    ['mov rbp, [rdi]', '488b2f', CHANGES_FP, 0],
    ['xchg rbp, rax', '4895', CHANGES_FP, 0],
    ['mov r13, 1', '49c7c501000000', 0, 0],
    ['mov ebp, 1', 'bd01000000', CHANGES_FP, 0],
    ['xadd [rdi], rbp', '480fc12f', CHANGES_FP, 0],
    ['cmovne rbp, rax', '480f45e8', CHANGES_FP, 0],
    ['neg rbp', '48f7dd', CHANGES_FP, 0],
    ['mul rbp', '48f7e5', 0, 0],
    ['test rbp, rbp', '4885ed', 0, 0],
    ['push [rdi]', 'ff37', CHANGES_SP, 0],
    ['inc rbp', '48ffc5', CHANGES_FP, 0],
    ['bswap rbp', '480fcd', CHANGES_FP, 0],
  ];
  for (const [text, hex, effects, delta] of cases) {
    it(text, () => {
      const insn = of(hex);
      expect(effectsOf(insn)).toBe(effects);
      expect(stackDelta(insn)).toBe(delta);
    });
  }

  it('knows a place in the frame from one that hangs on other registers', () => {
    expect(baseOf(of('48896c2408'))).toBe(4);
    expect(baseOf(of('488945f8'))).toBe(5);
    expect(accessesElsewhere(of('488945f8'))).toBe(false);
    expect(accessesElsewhere(of('48890424'))).toBe(false);
    expect(accessesElsewhere(of('488904c4'))).toBe(true);
    expect(accessesElsewhere(of('488907'))).toBe(true);
  });
});
