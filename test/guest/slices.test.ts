// A program run in slices of any sizes, with other programs between them, ends as it does in one go, and
// its slices count up to the same number of instructions.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import type { CpuContext } from '../../src/guest/engine.ts';
import { Bare, DATA, ENGINES, STACK_TOP, TEXT } from './bare.ts';

describe.each(ENGINES)('the CPU port on %s:', (engine) => {
  let bare: Bare;
  beforeAll(() => {
    bare = new Bare(engine);
  });
  afterAll(() => bare.close());

  const REGISTERS = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'r8', 'r9', 'r12', 'r15'] as const;
  const register = fc.constantFrom(...REGISTERS);
  const imm = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const slot = fc.nat(31).map((n) => `[rbp+${8 * n}]`);
  const operation = fc.constantFrom(
    'add',
    'sub',
    'xor',
    'and',
    'or',
    'adc',
    'sbb',
    'cmp',
    'test',
    'mov',
    'imul',
  );

  /** An instruction, or a few that belong together. */
  const step = fc.oneof(
    fc.tuple(operation, register, register).map(([op, a, b]) => `${op} ${a}, ${b}`),
    fc
      .tuple(fc.constantFrom('add', 'xor', 'cmp', 'mov'), register, imm)
      .map(([op, a, n]) => `${op} ${a}, ${n}`),
    fc.tuple(register, slot).map(([a, at]) => `mov ${a}, ${at}`),
    fc.tuple(slot, register).map(([at, a]) => `add ${at}, ${a}`),
    fc.tuple(register, register).map(([a, b]) => `push ${a}\npop ${b}`),
    fc
      .tuple(fc.constantFrom('shl', 'shr', 'sar', 'rol'), register, fc.nat(63))
      .map(([op, a, n]) => `${op} ${a}, ${n}`),
    fc
      .tuple(fc.constantFrom('cmovc', 'cmovz', 'cmovs'), register, register)
      .map(([op, a, b]) => `${op} ${a}, ${b}`),
    fc.tuple(fc.constantFrom('jz', 'jc', 'js', 'jo'), register).map(([op, a]) => `${op} 1f\ninc ${a}\n1:`),
    register.map((a) => `call 2f\njmp 3f\n2: not ${a}\nret\n3:`),
    fc.nat(20).map((n) => `lea rdi, [rbp+256]\nmov ecx, ${n}\nrep stosb`),
  );
  const program = fc.array(step, { minLength: 1, maxLength: 25 });
  const slices = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 });
  const SPACE = 0x200;

  function start(): CpuContext {
    bare.mem.fill(DATA, SPACE, 0);
    const context = bare.context({ rsp: STACK_TOP - 64n, rbp: DATA });
    REGISTERS.forEach((name, i) => {
      context.regs[REG[name]] = BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n);
    });
    return context;
  }

  interface Result {
    readonly executed: number;
    readonly regs: bigint[];
    readonly memory: number[];
  }

  /** Runs to the hlt in slices; `between` comes after each. */
  function run(sizes: readonly number[], between: () => void = () => {}): Result {
    const context = start();
    let executed = 0;
    for (let i = 0; ; i++) {
      const stop = bare.run(context, sizes[i % sizes.length]);
      executed += stop.executed;
      if (stop.kind === 'halt')
        return { executed, regs: [...context.regs], memory: [...bare.mem.readBytes(DATA, SPACE)] };
      expect(stop).toMatchObject({ kind: 'budget', executed: sizes[i % sizes.length] });
      between();
    }
  }

  describe('a program in slices', () => {
    it('ends with the same registers, flags, memory and count', async () => {
      await fc.assert(
        fc.asyncProperty(program, slices, async (steps, sizes) => {
          await bare.code(`${steps.join('\n')}\nhlt`);
          expect(run(sizes)).toEqual(run([1_000_000]));
        }),
        { numRuns: 80 },
      );
    });

    it('is not disturbed by another CPU that runs between them', async () => {
      const other = TEXT + 0x800n;
      await fc.assert(
        fc.asyncProperty(program, slices, async (steps, sizes) => {
          await bare.code(`${steps.join('\n')}\nhlt`);
          await bare.code('1: inc rax\nxor rbx, rax\nstd\ncld\njmp 1b', other);
          const context = bare.context({ rip: other });
          const alone = run([1_000_000]);
          let turns = 0;
          const shared = run(sizes, () => {
            bare.run(context, 7);
            turns++;
          });
          expect(shared).toEqual(alone);
          expect(context.regs[REG.rax]).toBe(BigInt(Math.ceil((7 * turns) / 5)));
        }),
        { numRuns: 40 },
      );
    });
  });
});
