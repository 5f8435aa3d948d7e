// Instructions of the machine: what there is of registers and devices, and whose they are.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { USER_TEXT_BASE } from '../../../../src/guest/windows.ts';
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

describe('segments', () => {
  const ZF = 0x40n;
  const rights = async (selector: number) => {
    const { regs } = await run(`mov ecx, ${selector}\nlar eax, ecx`);
    return regs[REG.rflags] & ZF ? regs[REG.rax] : undefined;
  };

  it('are known to whom their privilege allows it: lar, lsl, verr, verw', async () => {
    expect(await rights(0x10)).toBe(0xaf9b00n);
    expect(await rights(0x2b)).toBe(0xcff300n);
    // Asked for with privilege 3; of the local table; none.
    for (const selector of [0x13, 0x14, 0, 3, 0x38])
      expect(await rights(selector), `${selector}`).toBe(undefined);
    await bare.code('mov ecx, 0x10\nlar eax, ecx\nud2', USER_TEXT_BASE);
    const context = bare.context({ rip: USER_TEXT_BASE, rsp: USER_STACK });
    context.setUserMode(true);
    bare.run(context, 10);
    expect(context.regs[REG.rflags] & ZF).toBe(0n);
  });

  it.each([
    ['mov ss, ecx', 0x18, 'halt'],
    ['mov ss, ecx', 0, 'halt'],
    ['mov ss, ecx', 1, 'exception'],
    ['mov ss, ecx', 0x2b, 'exception'],
    ['mov ds, ecx', 3, 'halt'],
    ['mov ds, ecx', 0x2b, 'halt'],
    ['mov ds, ecx', 0x1b, 'exception'],
    ['mov ds, ecx', 0x1c, 'exception'],
    ['mov es, ecx', 0x40, 'exception'],
  ])('%s of %i ends with %s, in the kernel', async (text, selector, kind) => {
    expect((await run(`mov ecx, ${selector}\n${text}`)).stop.kind).toBe(kind);
  });

  it('fs and gs are pushed and popped, of 2 and 8 bytes, and begin at 0 then', async () => {
    const { stop, regs } = await run(
      'push fs\n.byte 0x66, 0x0f, 0xa0\nmov rbx, rsp\n.byte 0x66, 0x0f, 0xa1\npop fs\nmov rcx, fs:[rax]',
      { rax: DATA },
    );
    expect(stop.kind).toBe('halt');
    expect([regs[REG.rbx], regs[REG.rsp]]).toEqual([STACK_TOP - 10n, STACK_TOP]);
    expect((await run('push 0x40\npop fs')).stop).toMatchObject({ kind: 'exception', executed: 1 });
  });

  it('are loaded with an offset by lss, lfs and lgs', async () => {
    bare.mem.writeBytes(DATA, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 0x2b, 0));
    const { stop, regs } = await run('.byte 0x48, 0x0f, 0xb4, 0x08', { rax: DATA }); // lfs rcx, [rax]
    expect([stop.kind, regs[REG.rcx]]).toEqual(['halt', 0x0807060504030201n]);
    bare.mem.writeBytes(DATA, Uint8Array.of(1, 2, 3, 4, 0x40, 0));
    expect((await run('.byte 0x0f, 0xb5, 0x08', { rax: DATA })).stop.kind).toBe('exception');
    expect((await run('.byte 0x0f, 0xb5, 0xc8')).stop.kind).toBe('undefined instruction');
  });

  it('outs reads from the segment of its prefix, and ins and outs count as wide as addresses are', async () => {
    const base = 'mov ecx, 0xc0000100\nmov eax, 0x1000\nxor edx, edx\nwrmsr\n';
    expect((await run(`${base}.byte 0x64\noutsb`, { rsi: DATA - 0x1000n })).stop.kind).toBe('halt');
    expect((await run('.byte 0x64\noutsb', { rsi: DATA - 0x1000n })).stop.kind).toBe('page fault');
    const { regs } = await run('.byte 0x67\nrep outsb', { rsi: 0x1_0000_0000n, rcx: 0x5_0000_0000n });
    expect([regs[REG.rsi], regs[REG.rcx]]).toEqual([0x1_0000_0000n, 0x5_0000_0000n]);
  });
});

describe('tables, and registers of the machine', () => {
  it('that are asked for are what the machine is made of: sgdt, sidt, str, sldt, smsw', async () => {
    bare.mem.writeBytes(DATA, new Uint8Array(64).fill(0xaa));
    const { regs } = await run(`sgdt [rbx]\nsidt [rbx + 16]\nstr ecx\nsldt edx\nsmsw rsi`, { rbx: DATA });
    expect([...bare.mem.readBytes(DATA, 11)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa]);
    expect([...bare.mem.readBytes(DATA + 16n, 11)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa]);
    expect([REG.rcx, REG.rdx, REG.rsi].map((r) => regs[r])).toEqual([0x40n, 0n, 0x33n]);
  });

  it('that are loaded are read, and change nothing: lgdt, lidt, lmsw, invlpg, wbinvd', async () => {
    expect(
      (await run('lgdt [rbx]\nlidt [rbx]\nlmsw ax\ninvlpg [rbx]\nwbinvd', { rbx: DATA })).stop.kind,
    ).toBe('halt');
    expect((await run('lgdt [rbx]', { rbx: 0x1000n })).stop).toMatchObject({
      kind: 'page fault',
      access: 'read',
      faultAddr: 0x1000n,
    });
  });

  it('lldt takes nothing alone, ltr nothing at all', async () => {
    expect((await run('xor eax, eax\nlldt ax')).stop.kind).toBe('halt');
    for (const text of ['mov eax, 0x18\nlldt ax', 'mov eax, 0x40\nltr ax'])
      expect((await run(text)).stop, text).toMatchObject({ kind: 'exception', executed: 1 });
  });

  it('CR0, CR2, CR4 and CR8 keep what may be written to them; CR1 is none', async () => {
    const { regs } = await run(
      'mov rax, cr0\nmov ecx, 0x1234\nmov cr2, rcx\nmov rdx, cr2\nmov ecx, 5\nmov cr8, rcx\nmov rsi, cr8',
    );
    expect([REG.rax, REG.rdx, REG.rsi].map((r) => regs[r])).toEqual([0x80050033n, 0x1234n, 5n]);
    expect((await run('mov ecx, 0x10\nmov cr8, rcx')).stop).toMatchObject({ kind: 'exception', executed: 1 });
    expect((await run('.byte 0x0f, 0x20, 0xc8')).stop.kind).toBe('undefined instruction'); // mov rax, cr1
  });

  it('debug registers are left to whoever runs the engine', async () => {
    expect((await run('mov rax, dr7')).stop).toMatchObject({ kind: 'refused', executed: 0 });
    expect((await runUser('mov rax, dr7')).kind).toBe('exception');
  });

  it('iretq takes all of its frame, sysretq goes on in ring 3, invd does nothing', async () => {
    bare.mem.pokeText(TEXT, Uint8Array.of(0x48, 0xcf));
    [TEXT + 0x100n, 0x10n, 0xd7n, STACK_TOP - 64n, 0x18n].forEach((word, i) => {
      bare.mem.writeU64(STACK_TOP - 40n + 8n * BigInt(i), word);
    });
    const left = bare.context({ rsp: STACK_TOP - 40n });
    expect(bare.run(left, 1)).toMatchObject({ kind: 'budget', executed: 1 });
    expect([left.regs[REG.rip], left.regs[REG.rsp], left.regs[REG.rflags] & 0xd7n, left.userMode]).toEqual([
      TEXT + 0x100n,
      STACK_TOP - 64n,
      0xd7n,
      false,
    ]);
    bare.mem.pokeText(TEXT, Uint8Array.of(0x48, 0x0f, 0x07));
    const back = bare.context({ rcx: USER_TEXT_BASE, r11: 0x202n });
    expect(bare.run(back, 1)).toMatchObject({ kind: 'budget', executed: 1 });
    expect([back.regs[REG.rip], back.regs[REG.rflags] & 0x200n, back.userMode]).toEqual([
      USER_TEXT_BASE,
      0x200n,
      true,
    ]);
    bare.mem.pokeText(TEXT, Uint8Array.of(0x0f, 0x08, 0xf4));
    expect(bare.run(bare.context(), 10)).toMatchObject({ kind: 'halt', executed: 2 });
  });

  it('rdpmc counts as the time stamp counter does', async () => {
    const { regs } = await run('rdtsc\nmov rbx, rax\nxor ecx, ecx\nrdpmc\nsub rax, rbx');
    expect(regs[REG.rax]).toBe(3n);
  });
});

describe('what cpuid does not tell of', () => {
  it.each([
    ['tpause', '66 0f ae f0'],
    ['erets', 'f2 0f 01 ca'],
    ['eretu', 'f3 0f 01 ca'],
    ['rdfsbase', 'f3 0f ae c0'],
    ['rdrand', '0f c7 f0'],
    ['rdpid', 'f3 0f c7 f8'],
    ['xgetbv', '0f 01 d0'],
    ['monitor', '0f 01 c8'],
    ['rdpkru', '0f 01 ee'],
    ['vmcall', '0f 01 c1'],
    ['fadd', 'd8 c1'],
    ['paddb of MMX', '0f fc c1'],
  ])('is an undefined instruction: %s', (_, bytes) => {
    bare.mem.pokeText(
      TEXT,
      Uint8Array.from(bytes.split(' '), (byte) => Number.parseInt(byte, 16)),
    );
    expect(bare.run(bare.context(), 1).kind).toBe('undefined instruction');
  });
});

describe('what x87 has without numbers', () => {
  it('the control word has a bit that is always one, and none that are reserved', async () => {
    const { regs } = await run(
      'mov word ptr [rsp - 8], 0xffbf\nfldcw [rsp - 8]\nfnstcw [rsp - 16]\nmov ax, [rsp - 16]\nfninit\nfnstcw [rsp - 16]\nmov bx, [rsp - 16]',
    );
    expect([regs[REG.rax], regs[REG.rbx]]).toEqual([0x1f7fn, 0x37fn]);
  });

  it('an image of registers is 512 bytes, whatever of it is used', async () => {
    const end = DATA + 0x10000n;
    for (const text of ['fxsave [rbx]', 'fxrstor [rbx]']) {
      expect((await run(text, { rbx: end - 512n })).stop.kind, text).toBe('halt');
      expect((await run(text, { rbx: end - 496n })).stop, text).toMatchObject({
        kind: 'page fault',
        faultAddr: end,
      });
    }
  });
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

  it('by a call may ask for more privilege, push the own selector, and return', async () => {
    // lcall [rbx] of 4 bytes; behind it hlt; the callee returns by retf
    bare.mem.pokeText(TEXT, Uint8Array.of(0xff, 0x1b, 0xf4));
    const target = USER_TEXT_BASE;
    bare.mem.pokeText(target, Uint8Array.of(0xff, 0x1b, 0x90));
    bare.mem.pokeText(target + 0x80n, Uint8Array.of(0xcb));
    const pointer = USER_STACK - 0x100n;
    bare.mem.writeU64(pointer, (0x30n << 32n) | (target + 0x80n));
    const context = bare.context({ rip: target, rsp: USER_STACK, rbx: pointer });
    context.setUserMode(true);
    expect(bare.run(context, 1).kind).toBe('budget');
    expect([context.regs[REG.rip], context.regs[REG.rsp]]).toEqual([target + 0x80n, USER_STACK - 8n]);
    expect(bare.mem.readU64(USER_STACK - 8n)).toBe((0x33n << 32n) | (target + 2n));
    expect(bare.run(context, 1).kind).toBe('budget');
    expect([context.regs[REG.rip], context.regs[REG.rsp]]).toEqual([target + 2n, USER_STACK]);
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
