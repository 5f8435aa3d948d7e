// Repeated MOVS and STOS, of which the core does many at once, against the same instruction one by one: in slices of any
// size, over the ends of pages, upwards and downwards, into themselves, and up to what is not there.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import { PAGE_SIZE } from '../../src/guest/memory.ts';
import { Bare, DATA, ENGINES } from './bare.ts';

const SIZES = { b: 1, w: 2, d: 4, q: 8 } as const;
const SPACE = 4 * PAGE_SIZE;
/** Of 16 pages that are mapped there, the last ends here. */
const END = DATA + 16n * BigInt(PAGE_SIZE);

interface Case {
  readonly op: 'movs' | 'stos';
  readonly size: keyof typeof SIZES;
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly down: boolean;
  readonly slices: readonly number[];
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    op: fc.constantFrom('movs', 'stos'),
    size: fc.constantFrom('b', 'w', 'd', 'q'),
    from: fc.integer({ min: 2 * PAGE_SIZE, max: 2.5 * PAGE_SIZE }),
    distance: fc.oneof(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -PAGE_SIZE, max: PAGE_SIZE })),
    count: fc.integer({ min: 0, max: 200 }),
    down: fc.boolean(),
    slices: fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 4 }),
  })
  .map(({ distance, ...rest }) => ({ ...rest, to: rest.from + distance }) as Case);

/** movsd is another instruction's name as well. */
const rep = (op: string, size: string): string =>
  `${op}${size}` === 'movsd' ? '.byte 0xf3, 0xa5' : `rep ${op}${size}`;

/** What one instruction after the other leaves, by the manual. */
function oneByOne({ op, size, from, to, count, down }: Case, bytes: Uint8Array, rax: bigint): Uint8Array {
  const width = SIZES[size];
  const value = new Uint8Array(new BigUint64Array([rax]).buffer).slice(0, width);
  for (let i = 0; i < count; i++) {
    const at = (down ? -i : i) * width;
    bytes.set(op === 'movs' ? bytes.slice(from + at, from + at + width) : value, to + at);
  }
  return bytes;
}

describe.each(ENGINES)('repetitions on %s:', (engine) => {
  let bare: Bare;
  beforeAll(() => {
    bare = new Bare(engine);
  });
  afterAll(() => bare.close());

  it('leave what as many single instructions leave, wherever a slice ends', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), async (one, rax) => {
        const before = Uint8Array.from({ length: SPACE }, (_, i) => (i * 167 + (i >> 8)) & 0xff);
        bare.mem.writeBytes(DATA, before);
        await bare.code(`${one.down ? 'std' : 'cld'}\n${rep(one.op, one.size)}\ncld\nhlt`);
        const context = bare.context({
          rsi: DATA + BigInt(one.from),
          rdi: DATA + BigInt(one.to),
          rcx: BigInt(one.count),
          rax,
        });
        let executed = 0;
        for (let i = 0; ; i++) {
          const stop = bare.run(context, one.slices[i % one.slices.length]);
          executed += stop.executed;
          if (stop.kind === 'halt') break;
          expect(stop.kind).toBe('budget');
        }
        // Each repetition, the one that finds rcx at 0, and the others.
        expect(executed).toBe(one.count + 4);
        const moved = BigInt(one.count * SIZES[one.size]) * (one.down ? -1n : 1n);
        expect(context.regs[REG.rdi]).toBe(DATA + BigInt(one.to) + moved);
        expect(context.regs[REG.rsi]).toBe(DATA + BigInt(one.from) + (one.op === 'movs' ? moved : 0n));
        expect(context.regs[REG.rcx]).toBe(0n);
        expect(Buffer.compare(bare.mem.view(DATA, SPACE), oneByOne(one, before, rax))).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it.each(Object.entries(SIZES))('stop at the page that is not there: rep stos%s', async (size, width) => {
    await bare.code(`rep stos${size}\nhlt`);
    const context = bare.context({ rdi: END - 100n * BigInt(width), rcx: 1000n, rax: 0x11223344_55667788n });
    const stop = bare.run(context, 10_000);
    expect(stop).toMatchObject({ kind: 'page fault', executed: 100 });
    expect(context.regs[REG.rcx]).toBe(900n);
    expect(context.regs[REG.rdi]).toBe(END);
    expect(bare.mem.readU8(END - BigInt(width))).toBe(0x88);
  });
});
