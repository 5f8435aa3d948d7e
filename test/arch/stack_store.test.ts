// Where instructions store on a stack, from their bytes and the registers.

import { describe, expect, it } from 'vitest';
import { BY_FP, BY_OTHERS, BY_SP, NO_STORE } from '../../src/arch/checking.ts';
import { storesOn } from '../../src/arch/x86_64/check/stack_store.ts';
import { REG } from '../../src/arch/x86_64/context.ts';
import { decodeAt, Insn } from '../../src/isa/decoder.ts';

const HIGH = 0xffffc900;
const registers = new BigUint64Array(18).fill(0x1000000n);
registers[REG.rsp] = 0xffffc90000007d00n;
registers[REG.rbp] = 0xffffc90000007d80n;
registers[REG.rdi] = 0xffffc90000007d40n;
registers[REG.rcx] = 0n;
registers[REG.rdx] = 0xffffffffffffffffn;
registers[REG.rbx] = 0xffffc90000000000n;
const halves = new Uint32Array(registers.buffer);

const cases: readonly (readonly [text: string, hex: string, where: number])[] = [
  ['mov [rsp+8], rax', '4889442408', BY_SP],
  ['mov rax, [rsp+8]', '488b442408', NO_STORE],
  ['cmp [rsp+8], rax', '4839442408', NO_STORE],
  ['add [rsp+8], rax', '4801442408', BY_SP],
  ['mov [rbp-8], rax', '488945f8', BY_FP],
  ['mov [rdi], rax', '488907', BY_OTHERS],
  ['mov [rax], rdi', '488938', NO_STORE],
  ['mov [rsp+rcx*8], rax', '488904cc', BY_OTHERS],
  ['mov [rcx+rdi], rax', '48890439', BY_OTHERS],
  ['mov [rsp+rax*8], rax, which is off the stack by less than 4 GiB', '488904c4', BY_OTHERS],
  ['mov [rdi+rdx], rax, a byte below', '48890417', BY_OTHERS],
  ['mov [rbx-8], rax, below the 4 GiB', '488943f8', NO_STORE],
  ['mov [rcx], rax', '488901', NO_STORE],
  ['mov [rip], rax', '48890500000000', NO_STORE],
  ['movups [rdi], xmm0', '0f1107', BY_OTHERS],
  ['push [rdi]', 'ff37', NO_STORE],
  ['rep stosq', 'f348ab', BY_OTHERS],
  ['mov rdi, rax', '4889c7', NO_STORE],
];

describe('a store on the stack', () => {
  it.each(cases)('%s', (_, hex, where) => {
    const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
    const insn = decodeAt(bytes, 0, 0, new Insn());
    expect(insn.length).toBe(bytes.length);
    expect(storesOn(insn, halves, HIGH)).toBe(where);
  });
});
