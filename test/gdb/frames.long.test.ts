import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareFrames } from './frames.ts';
import { noGdb } from './gdb.ts';

/** The demo has more instructions than that. */
const END = 20_000_000;
const MOMENTS = 25;

describe.skipIf(noGdb)(`frames of gdb's own unwinder${noGdb ? ` (${noGdb})` : ''}`, () => {
  // A hundred moments, in sessions that a slow computer comes to the end of.
  it.each([1, 2, 3, 4])('are those of the reliable trace of every task of the demo (%i)', async (seed) => {
    const moments = fc.sample(fc.noBias(fc.integer({ min: 1, max: END })), { seed, numRuns: MOMENTS });
    const { traces, frames } = await compareFrames(
      'demo',
      moments.sort((a, b) => a - b),
    );
    expect(traces).toBeGreaterThan(10 * MOMENTS);
    expect(frames).toBeGreaterThan(50 * MOMENTS);
  });
});
