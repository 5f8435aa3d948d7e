import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareFrames } from './frames.ts';
import { noGdb } from './gdb.ts';

/** The demo has more instructions than that. */
const END = 20_000_000;

describe.skipIf(noGdb)(`frames of gdb's own unwinder${noGdb ? ` (${noGdb})` : ''}`, () => {
  it('are those of the reliable trace of every task of the demo at 100 moments', async () => {
    const moments = fc.sample(fc.noBias(fc.integer({ min: 1, max: END })), { seed: 1, numRuns: 100 });
    const { traces, frames } = await compareFrames(
      'demo',
      moments.sort((a, b) => a - b),
    );
    expect(traces).toBeGreaterThan(1500);
    expect(frames).toBeGreaterThan(8000);
  });
});
