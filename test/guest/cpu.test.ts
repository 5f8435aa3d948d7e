// The CPU port, by real instructions: why a run ends, where, and after how many instructions.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import type { CpuContext } from '../../src/guest/engine.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { USER_TEXT_BASE } from '../../src/guest/windows.ts';
import { Bare, DATA, ENGINES, RODATA, STACK_TOP, TEXT, USER_STACK } from './bare.ts';

describe.each(ENGINES)('the CPU port on %s:', (engine) => {
  let bare: Bare;
  beforeEach(() => {
    bare = new Bare(engine);
  });
  afterEach(() => bare.close());

  const rip = (context: CpuContext) => context.regs[REG.rip] - TEXT;

  describe('a run', () => {
    it('executes exactly as many instructions as it may', async () => {
      await bare.code('1: inc rax\ninc rbx\njmp 1b');
      for (const budget of [1, 2, 3, 4, 5, 100, 299]) {
        const context = bare.context();
        expect(bare.run(context, budget)).toMatchObject({ kind: 'budget', executed: budget });
        expect(context.regs[REG.rax]).toBe(BigInt(Math.ceil(budget / 3)));
        expect(context.regs[REG.rbx]).toBe(BigInt(Math.ceil((budget - 1) / 3)));
      }
    });

    it('goes on where it ended, flags and all', async () => {
      await bare.code('cmp rax, rax\nje 1f\nud2\n1: mov ecx, 7\nhlt');
      const context = bare.context();
      const kinds = Array.from({ length: 4 }, () => bare.run(context, 1).kind);
      expect(kinds).toEqual(['budget', 'budget', 'budget', 'halt']);
      expect(context.regs[REG.rcx]).toBe(7n);
    });

    it('counts a repeated string instruction once for each time, and once more', async () => {
      await bare.code('rep stosb\nhlt');
      const context = bare.context({ rcx: 5n, rdi: DATA, rax: 0x41n });
      expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 7 });
      expect(bare.mem.readCString(DATA)).toBe('AAAAA');
    });

    it('ends at hlt, behind it, with the hlt counted, also when the budget ends there', async () => {
      await bare.code('nop\nnop\nhlt\nnop');
      for (const budget of [3, 4, 1000]) {
        const context = bare.context();
        expect(bare.run(context, budget)).toMatchObject({ kind: 'halt', executed: 3 });
        expect(rip(context)).toBe(3n);
      }
      const short = bare.context();
      expect(bare.run(short, 2)).toMatchObject({ kind: 'budget', executed: 2 });
      expect(rip(short)).toBe(2n);
    });

    it('ends at a division by zero and at a wrong selector, whatever byte is before them', async () => {
      for (const before of ['mov eax, 0xcc000000', 'mov eax, 0x12cd0000']) {
        await bare.code(`xor ecx, ecx\n${before}\ndiv ecx\nhlt`);
        expect(bare.run(bare.context(), 100), before).toMatchObject({ kind: 'exception', executed: 2 });
        await bare.code(`mov ecx, 0x1234\n${before}\nmov ds, ecx\nhlt`);
        expect(bare.run(bare.context(), 100), before).toMatchObject({ kind: 'exception', executed: 2 });
      }
    });

    it('ends behind int3 and int n, at ud2 and at what no CPU knows', async () => {
      await bare.code('nop\nint3\nnop\nint 0x21\nnop\nud2');
      const context = bare.context();
      expect(bare.run(context, 100)).toMatchObject({ kind: 'trap', executed: 2 });
      expect(rip(context)).toBe(2n);
      expect(bare.run(context, 100)).toMatchObject({ kind: 'trap', executed: 2 });
      expect(rip(context)).toBe(5n);
      expect(bare.run(context, 100)).toMatchObject({ kind: 'undefined instruction', executed: 1 });
      expect(rip(context)).toBe(6n);
      bare.mem.pokeText(TEXT, Uint8Array.of(0x90, 0x06)); // push es: not in 64-bit mode
      const invalid = bare.context();
      expect(bare.run(invalid, 100)).toMatchObject({ kind: 'undefined instruction', executed: 1 });
      expect(rip(invalid)).toBe(1n);
    });

    it('ends at a division by zero', async () => {
      await bare.code('xor edx, edx\nmov eax, 1\ndiv rcx\nhlt');
      const context = bare.context();
      expect(bare.run(context, 100)).toMatchObject({ kind: 'exception', executed: 2 });
      expect(rip(context)).toBe(7n);
    });
  });

  describe('a page fault', () => {
    const cases = [
      [
        'a read of a null pointer',
        'mov rax, [rbx+0x10]',
        0n,
        { faultAddr: 0x10n, access: 'read', unmapped: true },
      ],
      ['a write to nowhere', 'mov [rbx], rax', DATA - 0x1000n, { access: 'write', unmapped: true }],
      ['a write to read-only data', 'mov [rbx], rax', RODATA, { access: 'write', unmapped: false }],
      ['a write to text', 'mov [rbx], rax', TEXT, { access: 'write', unmapped: false }],
      [
        'a read below a task stack',
        'mov rax, [rbx]',
        STACK_TOP - 0x4008n,
        { access: 'read', unmapped: true },
      ],
    ] as const;

    it.each(cases)(
      'tells of %s: the instruction, the address, how many before it',
      async (_name, insn, rbx, found) => {
        await bare.code(`nop\nmov ecx, 5\n${insn}\nhlt`);
        for (const budget of [3, 100]) {
          const context = bare.context({ rbx });
          const stop = bare.run(context, budget);
          expect(stop).toMatchObject({ kind: 'page fault', executed: 2, faultAddr: rbx, ...found });
          expect(rip(context)).toBe(6n);
          expect([context.regs[REG.rax], context.regs[REG.rcx]]).toEqual([0n, 5n]);
        }
      },
    );

    it('goes away with its cause: the same instruction then completes', async () => {
      await bare.code('push rax\nmov rdx, [rbx]\nhlt');
      const at = 0xffffffff81010000n;
      const context = bare.context({ rbx: at, rax: 3n });
      expect(bare.run(context, 100)).toMatchObject({ kind: 'page fault', executed: 1 });
      bare.mem.map(at, PAGE_SIZE, PROT_READ | PROT_WRITE);
      bare.mem.writeU64(at, 99n);
      expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 2 });
      expect(context.regs[REG.rdx]).toBe(99n);
      expect(context.regs[REG.rsp]).toBe(STACK_TOP - 8n);
    });

    it.each([
      ['no memory', 0xffffffffc0201000n, true],
      ['memory that is not executable', DATA, false],
      ['a null pointer', 0n, true],
    ])('of a jump to %s stands at the target, with the jump counted', async (_name, target, unmapped) => {
      await bare.code('nop\njmp rax\nhlt');
      const context = bare.context({ rax: target });
      const stop = bare.run(context, 100);
      expect(stop).toMatchObject({
        kind: 'page fault',
        executed: 2,
        faultAddr: target,
        access: 'fetch',
        unmapped,
      });
      expect(context.regs[REG.rip]).toBe(target);
    });

    it('of a push below the stack leaves the stack pointer', async () => {
      await bare.code('push rax\nhlt');
      const context = bare.context({ rsp: STACK_TOP - 0x4000n });
      expect(bare.run(context, 100)).toMatchObject({
        kind: 'page fault',
        executed: 0,
        access: 'write',
        faultAddr: STACK_TOP - 0x4008n,
      });
      expect(context.regs[REG.rsp]).toBe(STACK_TOP - 0x4000n);
    });

    it('comes of a protection that changed since the code ran', async () => {
      await bare.code('mov [rbx], rax\njmp rcx');
      const page = DATA + 0x2000n;
      const context = () => bare.context({ rbx: page, rcx: TEXT });
      expect(bare.run(context(), 2).kind).toBe('budget');
      bare.mem.protect(page, PAGE_SIZE, PROT_READ);
      expect(bare.run(context(), 2)).toMatchObject({ kind: 'page fault', access: 'write', unmapped: false });
      bare.mem.protect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
      expect(bare.run(context(), 2).kind).toBe('budget');
      bare.mem.protect(TEXT, PAGE_SIZE, PROT_READ);
      expect(bare.run(context(), 2)).toMatchObject({ kind: 'page fault', access: 'fetch', unmapped: false });
    });
  });

  describe('rings', () => {
    const USER_CODE = 'syscall\nnop\nhlt';

    it('are changed by the host as hardware would: a system call at ring 3 ends the run behind it', async () => {
      await bare.code(USER_CODE, USER_TEXT_BASE);
      const context = bare.context({ rip: USER_TEXT_BASE, rsp: USER_STACK });
      context.setUserMode(true);
      expect(context.userMode).toBe(true);
      expect(bare.run(context, 100)).toMatchObject({ kind: 'syscall', executed: 1 });
      expect(context.regs[REG.rip]).toBe(USER_TEXT_BASE + 2n);
      context.setUserMode(false);
      expect(context.userMode).toBe(false);
      expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 2 });
    });

    it('forbid hlt at ring 3', async () => {
      await bare.code('nop\nhlt', USER_TEXT_BASE);
      const context = bare.context({ rip: USER_TEXT_BASE, rsp: USER_STACK });
      context.setUserMode(true);
      expect(bare.run(context, 100)).toMatchObject({ kind: 'exception', executed: 1 });
      expect(context.regs[REG.rip]).toBe(USER_TEXT_BASE + 1n);
    });

    it('are left by iretq, which takes the stack of ring 3', async () => {
      await bare.code('iretq');
      await bare.code('push rax\nsyscall', USER_TEXT_BASE);
      const frame = [USER_TEXT_BASE, 0x33n, 0x202n, USER_STACK, 0x2bn];
      const rsp = STACK_TOP - 40n;
      frame.forEach((word, i) => {
        bare.mem.writeU64(rsp + BigInt(8 * i), word);
      });
      const context = bare.context({ rsp, rax: 0x55n });
      expect(bare.run(context, 100)).toMatchObject({ kind: 'syscall', executed: 3 });
      expect([context.userMode, context.regs[REG.rsp]]).toEqual([true, USER_STACK - 8n]);
      expect(bare.mem.readU64(USER_STACK - 8n)).toBe(0x55n);
    });
  });

  describe('several CPUs on one engine', () => {
    it('keep their registers, flags, ring and GS apart', async () => {
      await bare.code('mov rax, gs:[8]\nadd rbx, rax\ncmp rbx, 20\n1: jne 1b\nhlt');
      const contexts = [0, 1].map((i) => {
        const base = DATA + BigInt(0x100 * i);
        bare.mem.writeU64(base + 8n, BigInt(10 * (i + 1)));
        const context = bare.context();
        context.perCpuBase = base;
        return context;
      });
      const kinds = [1, 1, 1, 1, 1, 1].map((n) => contexts.map((c) => bare.run(c, n).kind).join());
      expect(contexts.map((c) => c.regs[REG.rbx])).toEqual([10n, 20n]);
      expect(contexts.map((c) => c.perCpuBase)).toEqual([DATA, DATA + 0x100n]);
      // The second one came to its hlt; the first one compares in vain for ever.
      expect(kinds.slice(0, 5)).toEqual([
        'budget,budget',
        'budget,budget',
        'budget,budget',
        'budget,budget',
        'budget,halt',
      ]);
    });

    it('swap GS by swapgs', async () => {
      await bare.code('swapgs\nmov rax, gs:[8]\nhlt');
      const context = bare.context();
      context.perCpuBase = DATA;
      bare.mem.writeU64(DATA + 8n, 77n);
      bare.run(context, 1);
      expect(context.perCpuBase).not.toBe(DATA);
      bare.run(context, 1); // gs:[8] without a base: address 8
      await bare.code('swapgs\nswapgs\nmov rax, gs:[8]\nhlt');
      const twice = bare.context();
      twice.perCpuBase = DATA;
      expect(bare.run(twice, 100).kind).toBe('halt');
      expect(twice.regs[REG.rax]).toBe(77n);
    });

    it('see a register that the host wrote once it is touched', async () => {
      await bare.code('1: inc rax\njmp 1b');
      const context = bare.context();
      bare.run(context, 2);
      context.regs[REG.rax] = 100n;
      context.touch();
      bare.run(context, 1);
      expect(context.regs[REG.rax]).toBe(101n);
    });
  });

  describe('changed text', () => {
    it('is executed from the next instruction on, whatever was translated before', async () => {
      await bare.code('1: inc rax\nnop\njmp 1b');
      const context = bare.context();
      bare.run(context, 300);
      expect(context.regs[REG.rax]).toBe(100n);
      await bare.code('1: dec rax\nnop\njmp 1b');
      bare.run(context, 300);
      expect(context.regs[REG.rax]).toBe(0n);
    });

    it('takes effect for a CPU that stands in the middle of the block', async () => {
      await bare.code('nop\nnop\nnop\nmov eax, 1\nhlt');
      const context = bare.context();
      bare.run(context, 2);
      bare.mem.pokeText(TEXT + 4n, Uint8Array.of(9)); // mov eax, 9
      expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 3 });
      expect(context.regs[REG.rax]).toBe(9n);
    });

    it('can be an int3 on the first byte, and back', async () => {
      await bare.code('1: nop\n.byte 0x0f, 0x1f, 0x44, 0, 0\njmp 1b');
      const context = bare.context();
      bare.run(context, 30);
      bare.mem.pokeText(TEXT + 1n, Uint8Array.of(0xcc));
      expect(bare.run(context, 30)).toMatchObject({ kind: 'trap' });
      expect(rip(context)).toBe(2n);
      bare.mem.pokeText(TEXT + 1n, Uint8Array.of(0x0f));
      context.regs[REG.rip] = TEXT + 1n;
      context.touch();
      expect(bare.run(context, 30)).toMatchObject({ kind: 'budget', executed: 30 });
    });

    it('of memory that was unmapped and mapped again is the new one', async () => {
      const at = 0xffffffffc0201000n;
      for (const value of [1, 2]) {
        bare.mem.map(at, PAGE_SIZE, PROT_READ | PROT_EXEC);
        await bare.code(`mov eax, ${value}\nhlt`, at);
        const context = bare.context({ rip: at });
        expect(bare.run(context, 10).kind).toBe('halt');
        expect(context.regs[REG.rax]).toBe(BigInt(value));
        bare.mem.unmap(at, PAGE_SIZE);
      }
      expect(bare.run(bare.context({ rip: at }), 10)).toMatchObject({
        kind: 'page fault',
        access: 'fetch',
        executed: 0,
      });
    });
  });

  describe('task stacks', () => {
    it('more than the engine maps at once are all usable, and keep what is on them', async () => {
      await bare.code('push rax\npop rbx\npush rax\nhlt');
      const tops = Array.from({ length: 70 }, (_, i) => STACK_TOP + BigInt(0x8000 * (i + 1)));
      for (const top of tops) bare.mem.map(top - 0x4000n, 0x4000, PROT_READ | PROT_WRITE);
      for (let round = 0; round < 2; round++) {
        tops.forEach((top, i) => {
          const context = bare.context({ rsp: top, rax: BigInt(1000 * round + i) });
          expect(bare.run(context, 100)).toMatchObject({ kind: 'halt', executed: 4 });
          expect(context.regs[REG.rbx]).toBe(BigInt(1000 * round + i));
        });
        expect(tops.map((top) => Number(bare.mem.readU64(top - 8n)))).toEqual(
          tops.map((_, i) => 1000 * round + i),
        );
      }
    });
  });
});
