// Instructions of the machine: what there is of registers and devices, and whose they are.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { USER_TEXT_BASE } from '../../../../src/guest/memory.ts';
import { Bare, DATA, STACK_TOP, TEXT, USER_STACK } from '../../../guest/bare.ts';

let bare: Bare;
beforeEach(() => {
  bare = new Bare('core');
});
afterEach(() => bare.close());

async function run(text: string, regs: Parameters<Bare['context']>[0] = {}) {
  await bare.code(`${text}\nhlt`);
  const context = bare.context(regs);
  return { stop: bare.run(context, 1000), regs: context.regs };
}
async function runUser(text: string) {
  await bare.code(text, USER_TEXT_BASE);
  const context = bare.context({ rip: USER_TEXT_BASE, rsp: USER_STACK });
  context.setUserMode(true);
  return bare.run(context, 100);
}

describe('model-specific registers', () => {
  it('keep what is written to them, segment bases at once', async () => {
    const { stop, regs } = await run(
      'mov ecx, 0xc0000101\nmov eax, 0x1000\nmov edx, 0xffff8880\nwrmsr\nmov rbx, gs:[8]\nmov ecx, 0xc0000103\nmov eax, 7\nxor edx, edx\nwrmsr\nrdtscp\nmov r8, rcx\nmov ecx, 0xc0000103\nrdmsr',
    );
    expect(stop.kind).toBe('halt');
    expect([regs[REG.rbx], regs[REG.r8], regs[REG.rax]]).toEqual([bare.mem.readU64(DATA + 8n), 7n, 7n]);
  });

  it('that there are not are a general protection fault at the instruction', async () => {
    const { stop } = await run('mov ecx, 0x12345\nrdmsr');
    expect(stop).toMatchObject({ kind: 'exception', executed: 1 });
    expect((await run('mov ecx, 0x1b\nmov eax, 0\nmov edx, 0\nwrmsr')).stop).toMatchObject({
      kind: 'exception',
      executed: 3,
    });
  });
});

describe('ports', () => {
  it('read as ones, and take what is written: no device is there', async () => {
    const { stop, regs } = await run(
      'mov dx, 0x3f8\nxor eax, eax\nin al, dx\nmov rbx, rax\nin eax, dx\nout dx, al',
    );
    expect([stop.kind, regs[REG.rbx], regs[REG.rax]]).toEqual(['halt', 0xffn, 0xffffffffn]);
  });

  it('are read into memory again and again', async () => {
    const { stop, regs } = await run('rep insb', { rcx: 3n, rdi: DATA });
    expect([stop.kind, stop.executed]).toEqual(['halt', 5]);
    expect([regs[REG.rcx], regs[REG.rdi], bare.mem.readU32(DATA)]).toEqual([0n, DATA + 3n, 0xffffff]);
    expect((await run('rep insb', { rcx: 3n, rdi: 0x1000n })).stop).toMatchObject({
      kind: 'page fault',
      access: 'write',
      faultAddr: 0x1000n,
    });
  });
});

it('cpuid names the processor, and no feature that it does not have', async () => {
  const { regs } = await run('xor eax, eax\ncpuid');
  const text = [REG.rbx, REG.rdx, REG.rcx].map((r) => Buffer.from(new Uint32Array([Number(regs[r])]).buffer));
  expect(Buffer.concat(text).toString('latin1')).toBe('GenuineIntel');
  const one = await run('mov eax, 1\ncpuid');
  expect(Number(one.regs[REG.rcx]) & (1 << 30), 'rdrand').toBe(0);
});

it('the time stamp counter counts instructions', async () => {
  const { regs } = await run('rdtsc\nmov rbx, rax\nnop\nnop\nrdtsc\nsub rax, rbx');
  expect(regs[REG.rax]).toBe(4n);
});

it('selectors are those of the ring', async () => {
  const { regs } = await run('mov eax, cs\nmov ebx, ss\nmov ecx, ds\nlsl edx, eax');
  expect([REG.rax, REG.rbx, REG.rcx, REG.rdx].map((r) => regs[r])).toEqual([0x10n, 0x18n, 0n, 0xffffffffn]);
});

it('what is the kernel’s is a general protection fault for users', async () => {
  for (const text of ['mov ecx, 0x1b\nrdmsr', 'in al, dx', 'mov rax, cr0', 'cli', 'hlt', 'clts'])
    expect((await runUser(text)).kind, text).toBe('exception');
  expect((await runUser('rdtsc\nud2')).executed).toBe(1);
});

describe('far transfers', () => {
  // push 0x10; lea rax, [rip+N]; push rax; lretq
  const farReturn = (over: number) => [0x6a, 0x10, 0x48, 0x8d, 0x05, 3 + over, 0, 0, 0, 0x50, 0x48, 0xcb];

  it('go where the selector is of the own code', () => {
    // mov bl, 1 is jumped over
    bare.mem.pokeText(TEXT, Uint8Array.of(...farReturn(2), 0xb3, 1, 0xf4));
    const context = bare.context();
    expect(bare.run(context, 10)).toMatchObject({ kind: 'halt', executed: 5 });
    expect([context.regs[REG.rbx], context.regs[REG.rsp]]).toEqual([0n, STACK_TOP]);
  });

  it('are a general protection fault elsewhere', () => {
    bare.mem.pokeText(TEXT, Uint8Array.of(0x6a, 0x23, ...farReturn(0).slice(2)));
    expect(bare.run(bare.context(), 10)).toMatchObject({ kind: 'exception', executed: 3 });
    bare.mem.pokeText(TEXT, Uint8Array.of(0xff, 0x28)); // ljmp [rax]: the selector is 0
    expect(bare.run(bare.context({ rax: DATA }), 10)).toMatchObject({ kind: 'exception', executed: 0 });
  });

  it('through a register are no instructions', () => {
    bare.mem.pokeText(TEXT, Uint8Array.of(0xff, 0xe8));
    expect(bare.run(bare.context({ rax: DATA }), 10)).toMatchObject({ kind: 'undefined instruction' });
  });
});

describe('features', () => {
  /** EBX of leaf 7. */
  async function features(): Promise<bigint> {
    const { regs } = await run('mov eax, 7\nxor ecx, ecx\ncpuid');
    return regs[REG.rbx];
  }
  const [SMEP, SMAP] = [1n << 7n, 1n << 20n];

  it('of protection are told of where kernel and users are kept apart, as CR4 has them', async () => {
    expect((await features()) & (SMEP | SMAP)).toBe(0n);
    bare.close();
    bare = new Bare('core', { apart: true });
    expect((await features()) & (SMEP | SMAP)).toBe(SMEP | SMAP);
    const { regs } = await run('mov rax, cr4');
    expect(regs[REG.rax] >> 20n).toBe(3n);
  });

  it.each([
    'xsave [rbx]',
    'xrstor [rbx]',
    'xsavec [rbx]',
    'xgetbv',
    'vzeroupper',
    'vmovdqu ymm0, [rbx]',
    'vpaddd xmm0, xmm1, xmm2',
    '.byte 0xc5, 0xf8, 0x92, 0xc8', // kmovw k1, eax
    '.byte 0x62, 0xf1, 0x7c, 0x48, 0x10, 0x03', // vmovups zmm0, [rbx]
  ])('of XSAVE and AVX are not there, since CR4 has no OSXSAVE: %s', async (text) => {
    const { stop, regs } = await run(`mov eax, 1\n${text}`, { rbx: DATA });
    expect(stop).toMatchObject({ kind: 'undefined instruction', executed: 1 });
    expect(regs[REG.rip]).toBe(TEXT + 5n);
  });

  it.each([
    'andn eax, ebx, ecx',
    'shlx rax, rbx, rcx',
    'rorx eax, ebx, 3',
    'fxsave [rbx]',
    'paddd xmm0, xmm1',
  ])('that need no state of XSAVE are there: %s', async (text) => {
    expect((await run(text, { rbx: DATA })).stop.kind).toBe('halt');
  });
});
