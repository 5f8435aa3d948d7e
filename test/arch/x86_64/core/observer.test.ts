// What the core tells of execution when it is asked to: each part against real code, and that it changes nothing else.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { MOST_COUNTERS, MOST_EVENTS, MOST_STORES } from '../../../../src/arch/x86_64/core/layout.ts';
import type { CpuContext } from '../../../../src/guest/engine.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import type { Observer, WatchedRange } from '../../../../src/guest/observer.ts';
import { USER_STACK_BASE } from '../../../../src/guest/windows.ts';
import { Bare, DATA, RODATA, STACK_TOP, TEXT } from '../../../guest/bare.ts';

const PAGE = BigInt(PAGE_SIZE);
/** Offset of an instruction in TEXT, by the assembler's lengths. */
const at = (offset: number): bigint => TEXT + BigInt(offset);

let bare: Bare;
let observer: Observer;

beforeEach(() => {
  bare = new Bare('core');
  observer = bare.engine.observer as Observer;
});
afterEach(() => bare.close());

const rip = (context: CpuContext): bigint => context.regs[REG.rip];

describe('breakpoints', () => {
  it('end a run before their instruction, which the next run executes', async () => {
    await bare.code('inc rax\ninc rbx\ninc rcx\nhlt');
    observer.breakAt([at(3)]);
    const context = bare.context();
    expect(bare.run(context, 100)).toMatchObject({ kind: 'breakpoint', executed: 1 });
    expect([rip(context), context.regs[REG.rbx]]).toEqual([at(3), 0n]);
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 3 });
    expect(context.regs[REG.rbx]).toBe(1n);
  });

  it('are met each time a loop comes by, and by every context', async () => {
    await bare.code('1: inc rax\ndec rcx\njnz 1b\nhlt');
    observer.breakAt([at(3)]);
    const contexts = [bare.context({ rcx: 3n }), bare.context({ rcx: 3n })];
    for (let round = 1; round <= 3; round++) {
      for (const context of contexts) {
        expect(bare.run(context, 100).kind).toBe('breakpoint');
        expect(context.regs[REG.rax]).toBe(BigInt(round));
      }
    }
    for (const context of contexts) expect(bare.run(context, 100).kind).toBe('halt');
  });

  it('are told of once where an interrupt comes between them and their instruction', async () => {
    // The handler is behind hlt.
    await bare.code('inc rax\ninc rbx\nhlt\ncall 1f\niretq\n1: push rbx\njmp 2f\n2: pop rbx\nret');
    const handler = at(7);
    observer.breakAt([at(3)]);
    const context = bare.context();
    expect(bare.run(context, 100)).toMatchObject({ kind: 'breakpoint', executed: 1 });
    const { regs } = context;
    const [from, stack] = [rip(context), regs[REG.rsp]];
    const frame = [0x18n, stack, 2n, 0x10n, from];
    frame.forEach((word, i) => {
      bare.mem.writeU64(stack - 8n * BigInt(i + 1), word);
    });
    regs[REG.rsp] = stack - 40n;
    regs[REG.rip] = handler;
    context.touch();
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt' });
    expect([regs[REG.rbx], regs[REG.rsp]]).toEqual([1n, stack]);
    // And the next time that anybody comes by it is told of again.
    expect(bare.run(bare.context(), 100)).toMatchObject({ kind: 'breakpoint', executed: 1 });
  });

  it('can be set in code that was executed, at the first instruction, and are gone when they are', async () => {
    await bare.code('inc rax\ninc rbx\nhlt');
    expect(bare.run(bare.context(), 100).kind).toBe('halt');
    observer.breakAt([TEXT, at(6)]);
    const context = bare.context();
    expect(bare.run(context, 100)).toMatchObject({ kind: 'breakpoint', executed: 0 });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'breakpoint', executed: 2 });
    observer.breakAt([]);
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 1 });
    expect(bare.run(bare.context(), 100)).toMatchObject({ kind: 'halt', executed: 3 });
  });

  it('are no bytes in memory: code reads and pokes text as it is', async () => {
    await bare.code(`mov rax, [0x${TEXT.toString(16)}]\nhlt`);
    const bytes = bare.mem.readU64(TEXT);
    observer.breakAt([TEXT]);
    const context = bare.context();
    bare.run(context, 10);
    bare.run(context, 10);
    expect(context.regs[REG.rax]).toBe(bytes);
    bare.mem.pokeText(TEXT, Uint8Array.of(0x90, 0xf4));
    const again = bare.context();
    expect(bare.run(again, 10).kind).toBe('breakpoint');
    expect(bare.run(again, 10)).toMatchObject({ kind: 'halt', executed: 2 });
  });
});

describe('watched memory', () => {
  /** Runs to the first stop. */
  function watching(range: Omit<WatchedRange, 'size'> & { size?: number }, regs = {}) {
    observer.watch([{ size: 8, ...range }]);
    const context = bare.context({ rbx: DATA, ...regs });
    const stop = bare.run(context, 100);
    return { context, stop, hits: observer.hits };
  }
  const write = { addr: DATA, access: 'write' } as const;

  it('ends the run behind the instruction that wrote it, which tells what was there before and after', async () => {
    await bare.code('mov rax, [rbx]\nmov dword ptr [rbx + 4], 0x12345678\ninc rcx\nhlt');
    bare.mem.writeU64(DATA, 0x1111111122222222n);
    const { context, stop, hits } = watching(write);
    expect(stop).toMatchObject({ kind: 'watchpoint', executed: 2 });
    expect(hits).toEqual([
      { addr: DATA + 4n, size: 4, access: 'write', before: 0x11111111n, after: 0x12345678n, by: 'guest' },
    ]);
    expect([context.regs[REG.rax], context.regs[REG.rcx]]).toEqual([0x1111111122222222n, 0n]);
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 2 });
  });

  it('tells reads where they are asked for', async () => {
    await bare.code('mov byte ptr [rbx + 1], 9\nmovzx eax, word ptr [rbx]\nhlt');
    const { stop, hits } = watching({ addr: DATA + 1n, size: 1, access: 'read' });
    expect(stop).toMatchObject({ kind: 'watchpoint', executed: 2 });
    expect(hits).toMatchObject([{ addr: DATA, size: 2, access: 'read', before: 0x900n, after: 0x900n }]);
  });

  it.each([
    ['add dword ptr [rbx], 5', ['read 7 7', 'write 7 12']],
    ['xchg [rbx], ecx', ['read 7 7', 'write 7 0']],
    ['lock xadd [rbx], ecx', ['read 7 7', 'write 7 7']],
    ['cmpxchg [rbx], ecx', ['read 7 7', 'write 7 7']],
    ['inc byte ptr [rbx]', ['read 7 7', 'write 7 8']],
    ['push qword ptr [rbx]', ['read 7 7']],
    ['push rcx\npop qword ptr [rbx]', ['write 7 0']],
    ['movsq', ['read 7 7']],
    ['mov rdi, rbx\nstosd', ['write 7 0']],
    ['lea rsp, [rbx + 8]\npush rcx', ['write 7 0']],
    ['lea rsp, [rbx + 8]\ncall 1f\n1: nop', [`write 7 ${at(9)}`]],
    ['call [rbx + 8]', []],
    ['bts dword ptr [rbx], 4', ['read 7 7', 'write 7 23']],
    ['setz byte ptr [rbx]', ['write 7 0']],
    ['movdqu [rbx], xmm0', ['write 7 0']],
    ['cmpxchg16b [rbx]', ['read 7 7']],
    ['sgdt [rbx]', ['write 7 0']],
    ['sldt [rbx]', ['write 7 0']],
    ['nop dword ptr [rbx]', []],
    ['lea rax, [rbx]', []],
    ['prefetcht0 [rbx]', []],
  ])('is told of once an access by %s', async (code, expected) => {
    await bare.code(`${code}\nhlt\nhlt`);
    bare.mem.writeU64(DATA, 7n);
    bare.mem.writeU64(DATA + 8n, RODATA);
    const { stop, hits } = watching({ addr: DATA, access: 'both' }, { rsi: DATA, rdi: DATA + 0x100n });
    expect(hits.map(({ access, before, after }) => `${access} ${before} ${after}`)).toEqual(expected);
    expect(stop.kind === 'watchpoint').toBe(expected.length > 0);
  });

  it('is told of for each repetition, with the PC at the next', async () => {
    await bare.code('rep stosb\nhlt');
    observer.watch([{ addr: DATA + 2n, size: 2, access: 'write' }]);
    const context = bare.context({ rdi: DATA, rcx: 5n, rax: 1n });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'watchpoint', executed: 3 });
    expect([rip(context), context.regs[REG.rcx]]).toEqual([TEXT, 2n]);
    expect(bare.run(context, 100)).toMatchObject({ kind: 'watchpoint', executed: 1 });
    expect(bare.run(context, 100).kind).toBe('halt');
    expect(bare.mem.readU64(DATA)).toBe(0x101010101n);
  });

  it('is found where an access goes over the end of a page, and by its place in RAM', async () => {
    await bare.code('mov qword ptr [rbx - 4], -1\nhlt');
    const addr = DATA + PAGE;
    const virtual = watching({ addr, size: 1, access: 'write' }, { rbx: addr });
    expect(virtual.hits).toMatchObject([{ addr: addr - 4n, size: 8, before: 0n, after: 2n ** 64n - 1n }]);
    const offset = bare.mem.offsetOf(addr, 1);
    const physical = watching(
      { addr: BigInt(offset), size: 1, access: 'write', physical: true },
      { rbx: addr },
    );
    expect(physical.stop).toMatchObject({ kind: 'watchpoint', executed: 1 });
  });

  it('can be large, and many: what lies beside is not told of', async () => {
    await bare.code('mov [rbx], rax\nmov [rbx + 0x2ff8], rax\nmov [rbx + 0x3000], rax\nhlt');
    observer.watch([
      { addr: DATA + 1n, size: 0x2fff, access: 'write' },
      { addr: DATA + 0x4000n, size: 8, access: 'both' },
    ]);
    const context = bare.context({ rbx: DATA });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'watchpoint', executed: 1 });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'watchpoint', executed: 1 });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 2 });
    const tooMany = Array.from({ length: 65 }, () => ({ addr: DATA, size: 1, access: 'read' }) as const);
    expect(() => observer.watch(tooMany)).toThrow('no more than 64 ranges are watched');
  });

  it('is not told of when the instruction faults, but by the fault', async () => {
    await bare.code('movsq\nhlt');
    observer.watch([{ addr: DATA, size: 8, access: 'read' }]);
    const context = bare.context({ rsi: DATA, rdi: RODATA });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'page fault', executed: 0, faultAddr: RODATA });
    expect(context.regs[REG.rsi]).toBe(DATA);
  });

  it('is told of when the host wrote it, before anything else is executed', async () => {
    await bare.code('inc rax\nhlt');
    observer.watch([write].map((range) => ({ ...range, size: 16 })));
    bare.mem.writeU32(DATA + 12n, 5);
    const context = bare.context();
    expect(bare.run(context, 100)).toMatchObject({ kind: 'watchpoint', executed: 0 });
    expect(observer.hits).toEqual([
      { addr: DATA + 8n, size: 8, access: 'write', before: 0n, after: 5n << 32n, by: 'host' },
    ]);
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 2 });
  });

  it('goes with breakpoints: at one instruction first the one, then the other', async () => {
    await bare.code('inc rax\nmov [rbx], rax\nhlt');
    observer.breakAt([at(3), at(6)]);
    const { context, stop } = watching(write);
    expect(stop).toMatchObject({ kind: 'breakpoint', executed: 1 });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'watchpoint', executed: 1 });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'breakpoint', executed: 0 });
    expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 1 });
  });
});

describe('the trace', () => {
  const told = (): string[] =>
    observer.takeTrace().events.map(({ what, number, pc: from, addr, size, value }) => {
      const place = (a: bigint): string => (a - TEXT).toString();
      if (what === 'block') return `${number} block ${place(from)}`;
      if (what === 'call' || what === 'return') return `${number} ${what} ${place(from)} ${place(addr)}`;
      return `${number} ${what} ${place(from)} ${(addr - DATA).toString()} ${size} ${value}`;
    });

  it('has every block that is executed, with the number of its first instruction', async () => {
    await bare.code('mov ecx, 2\n1: inc rax\ndec rcx\njnz 1b\nhlt');
    bare.run(bare.context(), 100);
    observer.trace(['blocks']);
    const context = bare.context();
    bare.run(context, 3);
    bare.run(context, 100);
    // 8 instructions were executed before. The budget ends a block, and the next begins there.
    expect(told()).toEqual(['8 block 0', '11 block 11', '12 block 5', '15 block 13']);
    expect(told()).toEqual([]);
  });

  it('has calls and returns, and where each led to, also when a run ends between', async () => {
    await bare.code('call 1f\nhlt\nnop\n1: lea rax, [rip + 2]\njmp 2f\n2: ret');
    observer.trace(['calls']);
    const context = bare.context();
    while (bare.run(context, 1).kind === 'budget');
    expect(told()).toEqual(['0 call 0 7', '3 return 16 5']);
    expect(bare.run(bare.context(), 100).kind).toBe('halt');
    expect(told()).toEqual(['5 call 0 7', '8 return 16 5']);
  });

  it('has no call that faulted', async () => {
    await bare.code('call 1f\n1: hlt');
    observer.trace(['calls']);
    const context = bare.context({ rsp: RODATA + 8n });
    expect(bare.run(context, 100).kind).toBe('page fault');
    context.regs[REG.rsp] = STACK_TOP;
    bare.run(context, 100);
    expect(told()).toEqual(['0 call 0 5']);
  });

  it('has accesses in their order, with what was read and written', async () => {
    await bare.code('mov word ptr [rbx], 3\nadd qword ptr [rbx], 4\nmovdqu [rbx + 8], xmm0\nhlt');
    observer.trace(['accesses']);
    bare.run(bare.context({ rbx: DATA }), 100);
    expect(told()).toEqual([
      '0 write 0 0 2 3',
      '1 read 5 0 8 3',
      '1 write 5 0 8 7',
      '2 write 9 8 8 0',
      '2 write 9 16 8 0',
    ]);
  });

  it('tells an instruction that is watched once', async () => {
    await bare.code('inc rax\nadd qword ptr [rbx], 4\nhlt');
    observer.trace(['blocks', 'accesses']);
    observer.watch([{ addr: DATA, size: 8, access: 'write' }]);
    const context = bare.context({ rbx: DATA });
    bare.run(context, 100);
    bare.run(context, 100);
    expect(told()).toEqual(['0 block 0', '1 block 3', '1 read 3 0 8 0', '1 write 3 0 8 4', '2 block 7']);
  });

  it('says who executed', async () => {
    await bare.code('inc rax\nhlt');
    observer.trace(['blocks']);
    const [one, other] = [bare.context(), bare.context()];
    for (const context of [one, other, one]) {
      context.regs[REG.rip] = TEXT;
      bare.run(context, 100);
    }
    const { events } = observer.takeTrace();
    expect(events.map(({ context }) => [one, other].indexOf(context))).toEqual([0, 1, 0]);
  });

  it('keeps the last events, and says how many it has no room for', async () => {
    await bare.code('1: inc rax\njmp 1b');
    observer.trace(['blocks']);
    const rounds = MOST_EVENTS + 1000;
    expect(bare.run(bare.context(), 2 * rounds).executed).toBe(2 * rounds);
    const { events, lost } = observer.takeTrace();
    expect([events.length, lost]).toEqual([MOST_EVENTS, 1000]);
    expect(events.map(({ number }) => number)).toEqual(
      Array.from({ length: MOST_EVENTS }, (_, i) => 2 * (i + 1000)),
    );
  });
});

describe('counts', () => {
  const counts = (): Record<string, number> =>
    Object.fromEntries([...observer.counts().executed].map(([addr, n]) => [(addr - TEXT).toString(), n]));

  it('are of each instruction that was executed, however runs cut the blocks', async () => {
    await bare.code('mov ecx, 3\n1: inc rax\ndec rcx\njnz 1b\nhlt\nnop');
    const expected = { 0: 1, 5: 3, 8: 3, 11: 3, 13: 1 };
    for (const step of [1, 2, 3, 100]) {
      observer.count(true);
      const context = bare.context();
      while (bare.run(context, step).kind === 'budget');
      expect(counts()).toEqual(expected);
    }
    expect(observer.counts().complete).toBe(true);
  });

  it('have no instruction that faulted, or that is behind one, but those that the engine does', async () => {
    await bare.code('inc rax\ncpuid\nmov [rbx], rax\ninc rcx\nhlt');
    observer.count(true);
    expect(bare.run(bare.context({ rbx: RODATA }), 100)).toMatchObject({ kind: 'page fault', executed: 2 });
    expect(counts()).toEqual({ 0: 1, 3: 1 });
  });

  it('go on where text is changed', async () => {
    await bare.code('inc rax\nhlt');
    observer.count(true);
    bare.run(bare.context(), 100);
    bare.mem.pokeText(TEXT, Uint8Array.of(0x90));
    bare.mem.pokeText(TEXT, Uint8Array.of(0x48));
    bare.run(bare.context(), 100);
    expect(counts()).toEqual({ 0: 2, 3: 2 });
  });

  it('say when there was no room for all', async () => {
    const size = MOST_COUNTERS + 10;
    const text = TEXT + 0x100000n;
    bare.mem.map(text, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE, PROT_READ | PROT_EXEC);
    bare.mem.pokeText(text, new Uint8Array(size).fill(0x90));
    observer.count(true);
    expect(bare.run(bare.context({ rip: text }), size).kind).toBe('budget');
    const { executed, complete } = observer.counts();
    expect([executed.size, complete]).toEqual([MOST_COUNTERS, false]);
  });
});

describe('stores that wait', () => {
  const STORE_LOAD = 'mov qword ptr [rbx], 1\nmov rax, [rcx]\nhlt';

  /** Two CPUs that each store to one place and read the other's. */
  function storeBuffering(): CpuContext[] {
    const [x, y] = [DATA, DATA + 8n];
    bare.mem.writeU64(x, 0n);
    bare.mem.writeU64(y, 0n);
    return [bare.context({ rbx: x, rcx: y }), bare.context({ rbx: y, rcx: x })];
  }

  it('are read by their own CPU, and by no other until they are released, oldest first', async () => {
    await bare.code('mov word ptr [rbx], 0x1111\nmov byte ptr [rbx + 1], 0x22\nmov rax, [rbx]\nhlt');
    observer.holdStores(true);
    const context = bare.context({ rbx: DATA });
    expect(bare.run(context, 3).kind).toBe('budget');
    expect(context.regs[REG.rax]).toBe(0x2211n);
    expect([bare.mem.readU64(DATA), observer.waiting(context)]).toEqual([0n, 2]);
    expect(observer.release(context, 1)).toBe(1);
    expect(bare.mem.readU64(DATA)).toBe(0x1111n);
    expect(observer.release(context)).toBe(0);
    expect(bare.mem.readU64(DATA)).toBe(0x2211n);
  });

  it('let both CPUs read what was there before the other stored, as x86 does and one at a time does not', async () => {
    await bare.code(STORE_LOAD);
    for (const [holds, expected] of [
      [true, [0n, 0n]],
      [false, [0n, 1n]],
    ] as const) {
      observer.holdStores(holds);
      const cpus = storeBuffering();
      for (const cpu of cpus) bare.run(cpu, 2);
      expect(cpus.map((cpu) => cpu.regs[REG.rax])).toEqual(expected);
    }
  });

  it.each(['mfence', 'lock add dword ptr [rsp - 64], 0', 'xchg [rsp - 64], rdx', 'cpuid\nmov rcx, r8'])(
    'are out before the load that stands behind %s',
    async (barrier) => {
      await bare.code(STORE_LOAD.replace('\n', `\n${barrier}\n`));
      observer.holdStores(true);
      const cpus = storeBuffering();
      cpus.forEach((cpu) => {
        cpu.regs[REG.r8] = cpu.regs[REG.rcx];
        if (barrier.startsWith('cpuid')) cpu.regs[REG.rbx] = cpu.regs[REG.rbx];
      });
      for (const cpu of cpus) bare.run(cpu, 2 + barrier.split('\n').length);
      expect(cpus.map((cpu) => cpu.regs[REG.rax])).toEqual([0n, 1n]);
    },
  );

  it.each(['lfence', 'nop', 'pause'])('wait on over %s', async (instruction) => {
    await bare.code(STORE_LOAD.replace('\n', `\n${instruction}\n`));
    observer.holdStores(true);
    const cpus = storeBuffering();
    for (const cpu of cpus) bare.run(cpu, 3);
    expect(cpus.map((cpu) => cpu.regs[REG.rax])).toEqual([0n, 0n]);
  });

  it('never pass one another: who reads the later one reads the earlier one', async () => {
    await bare.code('mov qword ptr [rbx], 1\nmov qword ptr [rbx + 8], 1\nhlt');
    observer.holdStores(true);
    const context = bare.context({ rbx: DATA });
    bare.run(context, 2);
    const seen = [0, 1, 2].map((released) => {
      if (released > 0) observer.release(context, 1);
      return [bare.mem.readU64(DATA), bare.mem.readU64(DATA + 8n)];
    });
    expect(seen).toEqual([
      [0n, 0n],
      [1n, 0n],
      [1n, 1n],
    ]);
  });

  it('are no more than there is room for: the oldest goes out', async () => {
    await bare.code('1: mov [rbx + 8 * rcx], rcx\ndec rcx\njnz 1b\nhlt');
    observer.holdStores(true);
    const context = bare.context({ rbx: DATA, rcx: BigInt(MOST_STORES + 3) });
    bare.run(context, 3 * (MOST_STORES + 3));
    expect(observer.waiting(context)).toBe(MOST_STORES);
    expect(bare.mem.readU64(DATA + 8n * BigInt(MOST_STORES + 1))).toBe(BigInt(MOST_STORES + 1));
    expect(bare.mem.readU64(DATA + 8n * BigInt(MOST_STORES))).toBe(0n);
  });

  it.each([
    ['hlt', 'halt'],
    ['int3', 'trap'],
    ['ud2', 'undefined instruction'],
    ['mov [rdx], rax', 'page fault'],
  ])('are out when %s ends the run', async (code, kind) => {
    await bare.code(`mov qword ptr [rbx], 1\n${code}`);
    observer.holdStores(true);
    const context = bare.context({ rbx: DATA });
    expect(bare.run(context, 100).kind).toBe(kind);
    expect([observer.waiting(context), bare.mem.readU64(DATA)]).toEqual([0, 1n]);
  });

  it('do not wait where code is: what is stored there is executed next', async () => {
    const code = DATA + 8n * PAGE;
    bare.mem.protect(code, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    await bare.code('mov byte ptr [rbx], 0x90\njmp rbx');
    bare.mem.pokeText(code, Uint8Array.of(0xf4, 0xf4));
    observer.holdStores(true);
    expect(bare.run(bare.context({ rbx: code }), 100)).toMatchObject({ kind: 'halt', executed: 4 });
  });
});

describe('what is observed', () => {
  const INSTRUCTIONS = [
    'inc rax',
    'mov [rbx + 16], rax',
    'add [rbx + 17], eax',
    'push rax',
    'pop rcx',
    'movzx edx, byte ptr [rbx + 18]',
    'call 7f\n7: nop',
    'add rsp, 8',
    'lock xadd [rbx + 24], rdx',
    'xchg rax, [rbx + 16]',
    'mov [rbx + 0xffc], rax',
    'movdqu xmm1, [rbx + 20]',
    'movdqu [rbx + 40], xmm1',
    'cpuid\nmov rbx, r15',
    'rdtsc',
    'lea rdi, [rbx + 60]\nmov ecx, 3\nrep stosw',
    'lea rsi, [rbx + 60]\nlodsd',
    'sub rcx, rax',
    'setc [rbx + 21]',
    'pushfq',
    'mov rdx, [rbx + 48]',
  ];

  it('makes no difference to what is executed', async () => {
    const life = async (code: string, switches: readonly string[], step: number): Promise<string> => {
      const one = new Bare('core');
      const { observer: own } = one.engine as { observer: Observer };
      const is = (name: string): boolean => switches.includes(name);
      if (is('count')) own.count(true);
      if (is('hold')) own.holdStores(true);
      own.trace((['blocks', 'calls', 'accesses'] as const).filter(is));
      if (is('watch')) own.watch([{ addr: DATA + 16n, size: 8, access: 'both' }]);
      if (is('break')) own.breakAt(Array.from({ length: 40 }, (_, i) => at(3 * i)));
      await one.code(code);
      const context = one.context({ rbx: DATA, r15: DATA });
      let executed = 0;
      for (let i = 0; i < 10_000; i++) {
        const stop = one.run(context, step);
        executed += stop.executed;
        if (!['budget', 'breakpoint', 'watchpoint'].includes(stop.kind)) break;
      }
      const memory = Buffer.from(one.mem.readBytes(DATA, 2 * PAGE_SIZE)).toString('hex');
      one.close();
      return `${executed} ${context.regs.join(' ')} ${memory}`;
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...INSTRUCTIONS), { minLength: 1, maxLength: 20 }),
        fc.subarray(['count', 'hold', 'blocks', 'calls', 'accesses', 'watch', 'break']),
        fc.constantFrom(1, 3, 1000),
        async (lines, switches, step) => {
          const code = [...lines, 'hlt'].join('\n');
          expect(await life(code, switches, step)).toBe(await life(code, [], 1000));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is nothing again when it is switched off', async () => {
    await bare.code('mov [rbx], rax\nhlt');
    observer.count(true);
    observer.trace(['blocks', 'accesses']);
    observer.watch([{ addr: DATA, size: 8, access: 'both' }]);
    observer.holdStores(true);
    observer.count(false);
    observer.trace([]);
    observer.watch([]);
    observer.holdStores(false);
    expect(bare.run(bare.context({ rbx: DATA }), 100)).toMatchObject({ kind: 'halt', executed: 2 });
    expect([observer.takeTrace(), observer.counts().executed.size]).toEqual([{ events: [], lost: 0 }, 0]);
  });

  it('is of user mode, too, in the address space that is asked for', async () => {
    await bare.code('mov [rbx], rax\nhlt');
    bare.mem.protect(TEXT, PAGE_SIZE, PROT_READ | PROT_EXEC);
    const watch = (space: number): void =>
      observer.watch([{ addr: USER_STACK_BASE, size: 8, access: 'write', space }]);
    watch(0);
    expect(bare.run(bare.context({ rbx: USER_STACK_BASE }), 100).kind).toBe('watchpoint');
    watch(7);
    expect(bare.run(bare.context({ rbx: USER_STACK_BASE }), 100).kind).toBe('halt');
  });
});
