// GNU as reads the same Intel syntax: its bytes are the measure, wherever it is installed.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';

const hasBinutils = existsSync('/usr/bin/as') && existsSync('/usr/bin/objcopy');

const INSTRUCTIONS = `
mov rax, gs:[0x1234]
mov eax, gs:[0x1234]
mov gs:[0x1234], rax
mov qword ptr gs:[0x1234], rsp
mov rdi, gs:[rip+0x1234]
cmp dword ptr gs:[0x1234], 0
or qword ptr gs:[0x1234], 0x200
inc dword ptr gs:[0x1234]
add dword ptr gs:[0x1234], 0x10000
mov rcx, [rax*8+0x1234]
mov rcx, [rax*8-0x1234]
jmp [rax*8+0x1234]
call qword ptr [rip+0x1234]
call [rax+8]
call rax
jmp rax
jmp r11
call r11
push 0x10
push 0x12345678
push -1
push qword ptr [r10-8]
pop qword ptr [rax]
pushfq
popfq
swapgs
iretq
syscall
rep movsq
rep stosq
rep movsb
bts qword ptr [rax], rcx
btr [rax], rcx
lock bts qword ptr [rax], 3
bts dword ptr [rax], 3
bt dword ptr [rdi], 5
lock cmpxchg [rdi], rsi
lock cmpxchg qword ptr [rdi], rsi
lock cmpxchg16b [rdi]
xchg [rdi], rax
xchg rax, rbx
lock xadd [rdi], eax
lock inc qword ptr [rdi]
mov rdi, 0x12345678
mov rdi, -1
mov rdi, 0xffffffff
mov rdi, 0x1122334455667788
movabs rdi, 0x1122334455667788
mov eax, 0xffffffff
and rsp, -64
and rsp, 0xfffffffffffffff0
and eax, 0xfffffff0
cmp rdi, 0xfffffffffffff001
cmp rax, -4095
add rsp, 128
add rsp, -128
lea r10, [rsp+8]
lea rsp, [r10-8]
leave
ud2
hlt
cli
sti
lfence
pause
mov cr3, rax
mov rax, cr2
lgdt [rax]
wrmsr
rdmsr
cmovne rax, rbx
sete byte ptr [rdi]
movzx eax, byte ptr [rdi]
movsxd rax, edi
imul rax, rdi, 8
div rcx
shl rax, 3
shr rax, cl
test dword ptr [rdi+8], 0x12345678
mov qword ptr [rip+0x1234], 0x5678
cmp qword ptr [rip+0x1234], 5
mov dword ptr [rdi+0x12345], 5
mov rax, [rsp+rcx*4+16]
mov rax, [r12]
mov rax, [r13]
mov rax, [rbp]
popcnt rax, rdi
bswap rax
retfq
verw word ptr [rip+0x1234]
nop dword ptr [rax+rax*1+0x100]
`
  .trim()
  .split('\n');

function gnuAs(source: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-as-'));
  try {
    writeFileSync(join(dir, 'x.s'), `.intel_syntax noprefix\n${source}\n`);
    execFileSync('as', ['--64', '-o', join(dir, 'x.o'), join(dir, 'x.s')]);
    execFileSync('objcopy', ['-O', 'binary', '-j', '.text', join(dir, 'x.o'), join(dir, 'x.bin')]);
    return readFileSync(join(dir, 'x.bin')).toString('hex');
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe.skipIf(!hasBinutils)('against GNU as', () => {
  test('every instruction the guest kernel is made of has the same bytes', async () => {
    const ours: string[] = [];
    for (const text of INSTRUCTIONS) ours.push(Buffer.from(await assembleSnippet(text, 0n)).toString('hex'));
    // One run of as, with a marker after each instruction to find the borders again.
    const theirs = gnuAs(INSTRUCTIONS.map((t) => `${t}\n.quad 0x5ca1ab1e5ca1ab1e`).join('\n')).split(
      '1eaba15c1eaba15c',
    );
    expect(ours.map((hex, i) => `${INSTRUCTIONS[i]}: ${hex}`)).toEqual(
      INSTRUCTIONS.map((text, i) => `${text}: ${theirs[i]}`),
    );
  });

  test('local branches are relaxed to the same sizes', async () => {
    const source = `.La: test rax, rax
      jz .Lb
      .fill 125, 1, 0x90
      jmp .La
    .Lb: jnz .La
      loop .Lb
      jmp 2f
      .fill 100, 1, 0x90
    2: ret`;
    expect(Buffer.from(await assembleSnippet(source, 0n)).toString('hex')).toBe(gnuAs(source));
  });
});
