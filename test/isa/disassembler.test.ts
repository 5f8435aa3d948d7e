import { describe, expect, test } from 'vitest';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { disassemble } from '../../src/isa/disassembler.ts';

const TEXT = 0xffffffff81000000n;
const SYMBOLS = new Map([
  ['klp_ftrace_handler', 0xffffffffc0201000n],
  ['jiffies', 0xffffffff81200000n],
]);

function symbolize(addr: bigint): string | undefined {
  for (const [name, base] of SYMBOLS) {
    const offset = addr - base;
    if (offset >= 0n && offset < 0x100n) return offset === 0n ? name : `${name}+0x${offset.toString(16)}`;
  }
  return undefined;
}

async function listing(text: string, syntax: 'att' | 'intel' = 'att'): Promise<string[]> {
  const bytes = await assembleSnippet(text, TEXT, SYMBOLS);
  return (await disassemble(bytes, TEXT, { symbolize, syntax })).map((i) => i.text);
}

describe('a listing', () => {
  test('names the targets of calls and jumps, with the offset when inside', async () => {
    expect(
      await listing('call klp_ftrace_handler\njmp klp_ftrace_handler+0x12\njne 0xffffffff81000000'),
    ).toEqual(['call klp_ftrace_handler', 'jmp klp_ftrace_handler+0x12', 'jne 0xffffffff81000000']);
  });

  test('has addresses of the upper half as they are', async () => {
    const insns = await disassemble(await assembleSnippet('nop\nret', TEXT), TEXT);
    expect(insns.map(({ addr, size, bytes }) => [addr, size, [...bytes]])).toEqual([
      [TEXT, 1, [0x90]],
      [TEXT + 1n, 1, [0xc3]],
    ]);
  });

  test('is written as objdump writes it', async () => {
    const text = `nop dword ptr [rax+rax*1+0]
      push rbp
      mov rbp, rsp
      sub rsp, 0x18
      mov qword ptr [rbp-8], 5
      mov rax, gs:[0]
      mov rdi, 0xffffffff81200000
      mov rax, [rip+jiffies+8]
      cmp eax, 0xffffffea
      lock cmpxchg [rdi+8], rsi
      movzx eax, byte ptr [rdi]
      lea r10, [rsp+8]
      call rax
      jmp [rax*8+0x10]
      leave
      ret`;
    expect(await listing(text)).toEqual([
      'nopl (%rax,%rax,1)',
      'push %rbp',
      'mov %rsp,%rbp',
      'sub $0x18,%rsp',
      'movq $0x5,-0x8(%rbp)',
      'mov %gs:0x0,%rax',
      'mov $0xffffffff81200000,%rdi',
      'mov 0x1fffdd(%rip),%rax  # jiffies+0x8',
      'cmp $0xffffffea,%eax',
      'lock cmpxchg %rsi,0x8(%rdi)',
      'movzbl (%rdi),%eax',
      'lea 0x8(%rsp),%r10',
      'call *%rax',
      'jmp *0x10(,%rax,8)',
      'leave',
      'ret',
    ]);
  });

  test('shows an fentry site in both its states', async () => {
    const site = Uint8Array.of(0x0f, 0x1f, 0x44, 0, 0);
    expect((await disassemble(site, TEXT)).map((i) => i.text)).toEqual(['nopl 0x0(%rax,%rax,1)']);
    const breakpoint = Uint8Array.of(0xcc, 0x1f, 0x44, 0, 0);
    expect((await disassemble(breakpoint, TEXT))[0]?.text).toBe('int3');
  });

  test('is in Intel syntax on request', async () => {
    expect(await listing('mov rax, [rdi+8]\ncall klp_ftrace_handler', 'intel')).toEqual([
      'mov rax, qword ptr [rdi + 8]',
      'call klp_ftrace_handler',
    ]);
  });

  test('goes on after bytes that are no instruction', async () => {
    const insns = await disassemble(Uint8Array.of(0x90, 0x06, 0x07, 0xc3), TEXT);
    expect(insns.map((i) => i.text)).toEqual(['nop', '(bad)', '(bad)', 'ret']);
    expect(insns.map((i) => i.addr - TEXT)).toEqual([0n, 1n, 2n, 3n]);
  });
});
