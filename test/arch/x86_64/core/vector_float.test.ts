// Numbers with a point in the core: against the doubles and singles of JavaScript, which round to nearest, and the
// manual where they say nothing.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { VectorBench } from './vector_bench.ts';

const view = new DataView(new ArrayBuffer(8));
const bitsOf = (x: number): bigint => {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
};
const doubleOf = (bits: bigint): number => {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
};
const singleBits = (x: number): bigint => {
  view.setFloat32(0, x);
  return BigInt(view.getUint32(0));
};
const singleOf = (bits: bigint): number => {
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
};

/** Any bits, and numbers that are near each other or at a border. */
const double = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(doubleOf),
  fc.double(),
  fc.integer({ min: -1000, max: 1000 }).map((x) => x / 8),
  fc.bigInt({ min: 0n, max: 1n << 53n }).map(doubleOf),
);
const single = fc.oneof(
  fc.float(),
  fc.integer({ min: 0, max: 1 << 25 }).map((x) => singleOf(BigInt(x))),
);

const bench = new VectorBench();
const FOUR = 'addsX xmm0, xmm1; subsX xmm2, xmm1; mulsX xmm3, xmm1; divsX xmm4, xmm1; sqrtsX xmm5, xmm1';
/** Sum, difference, product, quotient, and the root of the second. */
const program = (x: 'd' | 's'): string =>
  `${[0, 2, 3, 4, 5].map((i) => `movs${x} xmm${i}, [rdi]`).join('; ')}; movs${x} xmm1, [rdi + 8];
   ${FOUR.replaceAll('sX', `s${x}`)};
   ${[0, 2, 3, 4, 5].map((i, k) => `movs${x} [rdi + ${16 + 8 * k}], xmm${i}`).join('; ')}`;

describe('arithmetic of numbers with a point', () => {
  it('is that of JavaScript’s doubles', async () => {
    await bench.run(program('d'));
    await fc.assert(
      fc.asyncProperty(double, double, async (x, y) => {
        bench.put(0, bitsOf(x), bitsOf(y));
        await bench.run(program('d'));
        const want = [x + y, x - y, x * y, x / y, Math.sqrt(y)];
        expect(bench.get(16, 5).map(doubleOf)).toEqual(want);
      }),
      { numRuns: 60 },
    );
  });

  it('is that of its singles', async () => {
    await fc.assert(
      fc.asyncProperty(single, single, async (x, y) => {
        bench.put(0, singleBits(x), singleBits(y), 0n, 0n, 0n, 0n, 0n);
        await bench.run(program('s'));
        const want = [x + y, x - y, x * y, x / y, Math.sqrt(y)].map(Math.fround);
        expect(bench.get(16, 5).map((bits) => singleOf(bits & 0xffffffffn))).toEqual(want);
      }),
      { numRuns: 60 },
    );
  });

  it('converts between them, and to integers and from them', async () => {
    const text = `cvtsd2ss xmm0, [rdi]; movss [rdi + 16], xmm0; cvtss2sd xmm1, xmm0; movsd [rdi + 24], xmm1;
      cvttsd2si rax, [rdi]; mov [rdi + 32], rax; cvtsd2si eax, [rdi]; mov [rdi + 40], rax;
      cvtsi2sd xmm2, qword ptr [rdi + 8]; movsd [rdi + 48], xmm2`;
    await fc.assert(
      fc.asyncProperty(double, fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), async (x, n) => {
        bench.put(0, bitsOf(x), n, 0n);
        await bench.run(text);
        const [narrow, wide, truncated, , from] = bench.get(16, 5);
        expect(singleOf(narrow & 0xffffffffn)).toEqual(Math.fround(x));
        expect(doubleOf(wide)).toEqual(Math.fround(x));
        const fits = Math.abs(x) < 2 ** 63;
        expect(truncated).toBe(fits ? BigInt.asUintN(64, BigInt(Math.trunc(x))) : 1n << 63n);
        expect(doubleOf(from)).toBe(Number(n));
      }),
      { numRuns: 60 },
    );
  });
});

describe('MXCSR', () => {
  const [RZ, FTZ, DAZ] = [0x6000, 0x8000, 0x40];
  const third = async (mxcsr: number, numerator: number): Promise<[bigint, number]> => {
    bench.put(0, bitsOf(numerator), bitsOf(3), BigInt(mxcsr));
    await bench.run(
      'ldmxcsr [rdi + 16]; movsd xmm0, [rdi]; divsd xmm0, [rdi + 8]; movsd [rdi + 24], xmm0; stmxcsr [rdi + 32]',
    );
    return [bench.get(24)[0], Number(bench.get(32)[0] & 0xffffn)];
  };

  it('rounds to nearest, down, up, to zero', async () => {
    const nearest = bitsOf(2 / 3);
    const results = [];
    for (const rounding of [0, 1, 2, 3]) results.push((await third(0x1f80 | (rounding << 13), 2))[0]);
    expect(results).toEqual([nearest, nearest, nearest + 1n, nearest]);
    const negative = [];
    for (const rounding of [0, 1, 2, 3]) negative.push((await third(0x1f80 | (rounding << 13), -2))[0]);
    const sign = 1n << 63n;
    expect(negative).toEqual([nearest, nearest + 1n, nearest, nearest].map((x) => x | sign));
  });

  it('tells an inexact result, and keeps telling', async () => {
    expect((await third(0x1f80, 3))[1]).toBe(0x1f80);
    expect((await third(0x1f80, 1))[1]).toBe(0x1fa0);
    expect((await third(0x1fa0, 3))[1]).toBe(0x1fa0);
  });

  it('tells denormal operands and tiny results, or makes zeros of them', async () => {
    const least = 5e-324;
    expect(await third(0x1f80, least)).toEqual([0n, 0x1fb2]);
    expect(await third(0x1f80 | FTZ, 2 ** -1022)).toEqual([0n, 0x9fb0]);
    expect(await third(0x1f80 | DAZ, least)).toEqual([0n, 0x1fc0]);
    expect((await third(0x1f80 | RZ, 1))[1]).toBe(0x7fa0);
  });

  it('tells a division by zero and what is no number', async () => {
    const divide =
      'ldmxcsr [rdi + 16]; movsd xmm0, [rdi]; divsd xmm0, [rdi + 8]; movsd [rdi + 24], xmm0; stmxcsr [rdi + 32]';
    bench.put(0, bitsOf(-1), bitsOf(0), 0x1f80n, 0n, 0n);
    await bench.run(divide);
    expect(bench.get(24, 2)).toEqual([bitsOf(Number.NEGATIVE_INFINITY), 0x1f84n]);
    bench.put(0, bitsOf(0), bitsOf(0), 0x1f80n);
    await bench.run(divide);
    expect(bench.get(24, 2)).toEqual([0xfff8000000000000n, 0x1f81n]);
  });

  it('stops before an instruction whose exception it does not mask: nothing is written', async () => {
    bench.put(0, bitsOf(1), bitsOf(0), 0x1d80n, 0n, 0n);
    await bench.run('movsd xmm0, [rdi]; ldmxcsr [rdi + 16]');
    expect((await bench.run('divsd xmm0, [rdi + 8]')).kind).toBe('floating point');
    await bench.run('movsd [rdi + 24], xmm0; stmxcsr [rdi + 32]');
    expect(bench.get(24, 2)).toEqual([bitsOf(1), 0x1d84n]);
    bench.put(16, 0x1f80n);
    await bench.run('ldmxcsr [rdi + 16]');
  });
});

describe('a NaN', () => {
  const [SIGNALING, QUIET, OTHER] = [0x7ff4000000000001n, 0x7ff8000000000002n, 0xfffc000000000003n];
  it.each([
    ['the first of two, made quiet', 'addsd', SIGNALING, QUIET, SIGNALING | (1n << 51n), 0x1f81n],
    ['the first though the second signals', 'mulsd', QUIET, SIGNALING, QUIET, 0x1f81n],
    ['the second, of one number', 'subsd', bitsOf(1), OTHER, OTHER, 0x1f80n],
    ['of maxsd the second as it is', 'maxsd', bitsOf(1), SIGNALING, SIGNALING, 0x1f81n],
    ['of minsd the second, whatever it is', 'minsd', QUIET, bitsOf(1), bitsOf(1), 0x1f81n],
  ])('is %s', async (_, mnemonic, x, y, result, mxcsr) => {
    bench.put(0, x, y, 0x1f80n, 0n, 0n);
    await bench.run(
      `ldmxcsr [rdi + 16]; movsd xmm0, [rdi]; ${mnemonic} xmm0, [rdi + 8]; movsd [rdi + 24], xmm0; stmxcsr [rdi + 32]`,
    );
    expect(bench.get(24, 2)).toEqual([result, mxcsr]);
  });

  it('is unordered: ZF, PF and CF, and told by comisd alone when it is quiet', async () => {
    const flags = async (mnemonic: string, x: bigint, y: bigint): Promise<[bigint, bigint]> => {
      bench.put(0, x, y, 0x1f80n, 0n);
      await bench.run(
        `ldmxcsr [rdi + 16]; movsd xmm0, [rdi]; ${mnemonic} xmm0, [rdi + 8]; stmxcsr [rdi + 24]`,
      );
      return [bench.context.regs[REG.rflags] & 0x8d5n, bench.get(24)[0]];
    };
    expect(await flags('ucomisd', QUIET, bitsOf(1))).toEqual([0x45n, 0x1f80n]);
    expect(await flags('comisd', QUIET, bitsOf(1))).toEqual([0x45n, 0x1f81n]);
    expect(await flags('comisd', bitsOf(-1), bitsOf(1))).toEqual([1n, 0x1f80n]);
    expect(await flags('comisd', bitsOf(2), bitsOf(1))).toEqual([0n, 0x1f80n]);
    expect(await flags('comisd', bitsOf(0), bitsOf(-0))).toEqual([0x40n, 0x1f80n]);
  });
});

describe('approximations', () => {
  const text =
    'movaps xmm1, [rdi]; rcpps xmm0, xmm1; movups [rdi + 16], xmm0; rsqrtps xmm2, xmm1; movups [rdi + 32], xmm2';
  const words = (bits: readonly bigint[]): bigint[] =>
    bits.flatMap((word) => [word & 0xffffffffn, word >> 32n]);
  const approximated = async (x: bigint): Promise<{ reciprocal: bigint; ofRoot: bigint }> => {
    bench.put(0, x | (x << 32n), x | (x << 32n), 0n, 0n, 0n, 0n);
    await bench.run(text);
    const [first, ofFirst] = [words(bench.get(16, 2)), words(bench.get(32, 2))];
    // All four elements are of the same number.
    expect(new Set(first).size).toBe(1);
    expect(new Set(ofFirst).size).toBe(1);
    return { reciprocal: first[0] as bigint, ofRoot: ofFirst[0] as bigint };
  };
  /** What the manual allows. */
  const MOST = 1.5 * 2 ** -12;

  it('are within the error that the manual allows', async () => {
    const normal = fc.integer({ min: 0x00800000, max: 0x7e7fffff }).map(BigInt);
    await fc.assert(
      fc.asyncProperty(normal, fc.boolean(), async (bits, negative) => {
        const { reciprocal, ofRoot } = await approximated(bits);
        const exact = 1 / singleOf(bits);
        // A result that would be denormal is 0.
        if (exact >= 2 ** -126)
          expect(Math.abs(singleOf(reciprocal) - exact) / exact).toBeLessThanOrEqual(MOST);
        const root = 1 / Math.sqrt(singleOf(bits));
        expect(Math.abs(singleOf(ofRoot) - root) / root).toBeLessThanOrEqual(MOST);
        if (!negative) return;
        const other = await approximated(bits | 0x80000000n);
        expect(other).toEqual({ reciprocal: reciprocal | 0x80000000n, ofRoot: 0xffc00000n });
      }),
      { numRuns: 60 },
    );
  });

  it('have infinity for zero and what is denormal, zero for infinity, and keep NaNs', async () => {
    const rows = [
      [0x00000000n, 0x7f800000n, 0x7f800000n],
      [0x80000000n, 0xff800000n, 0xff800000n],
      [0x00000001n, 0x7f800000n, 0x7f800000n],
      [0x807fffffn, 0xff800000n, 0xff800000n],
      [0x7f800000n, 0x00000000n, 0x00000000n],
      [0xff800000n, 0x80000000n, 0xffc00000n],
      [0x7f812345n, 0x7fc12345n, 0x7fc12345n],
      [0x7effffffn, 0x00000000n, undefined],
    ] as const;
    for (const [x, reciprocal, ofRoot] of rows) {
      const found = await approximated(x);
      expect(found.reciprocal, x.toString(16)).toBe(reciprocal);
      if (ofRoot !== undefined) expect(found.ofRoot, x.toString(16)).toBe(ofRoot);
    }
  });
});
