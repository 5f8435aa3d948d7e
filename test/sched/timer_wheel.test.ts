// Buckets of the timer wheel: when a timer fires that was asked for so many jiffies from now.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketExpiry } from '../../src/sched/timer_wheel.ts';

/** A multiple of what a bucket of any level spans. */
const CLK = 8 ** 9;

describe('a bucket of the timer wheel', () => {
  // The table of levels at HZ 250 in the kernel's own description of its wheel: from how many jiffies on, and what a bucket spans.
  it.each([
    [0, 0, 1],
    [1, 63, 8],
    [2, 504, 64],
    [3, 4_032, 512],
    [4, 32_256, 4_096],
    [5, 258_048, 32_768],
    [6, 2_064_384, 262_144],
    [7, 16_515_072, 2_097_152],
    [8, 132_120_576, 16_777_216],
  ])('of level %i is for timers from %i jiffies on, and spans %i', (_level, from, span) => {
    const due = bucketExpiry(CLK, from, 250);
    expect(due).toBe((Math.floor((CLK + from) / span) + 1) * span);
    if (from > 0) expect(bucketExpiry(CLK, from - 1, 250) % (span / 8)).toBe(0);
    // One that is due as a bucket begins is in the next.
    const next = Math.ceil(from / span) * span;
    expect(bucketExpiry(CLK, next, 250)).toBe(CLK + next + span);
  });

  it('fires at once where it should have fired before', () => {
    expect(bucketExpiry(CLK, -1, 250)).toBe(CLK);
  });

  it('fires when all that the wheel holds is over, where it is asked for later than that', () => {
    expect(bucketExpiry(CLK, 2 ** 40, 250)).toBe(bucketExpiry(CLK, 63 * 8 ** 8 - 8 ** 8, 250));
    expect(bucketExpiry(CLK, 2 ** 40, 100)).toBe(bucketExpiry(CLK, 63 * 8 ** 7 - 8 ** 7, 100));
  });

  it('is never over before the timer is, and an eighth of its time behind it at most', () => {
    const jiffies = fc.integer({ min: 0, max: 2 ** 32 });
    fc.assert(
      fc.property(
        jiffies,
        fc.integer({ min: 0, max: 62 * 8 ** 8 }),
        fc.constantFrom(250, 1000),
        (clk, delta, hz) => {
          const late = bucketExpiry(clk, delta, hz) - (clk + delta);
          expect(late).toBeGreaterThan(0);
          expect(late).toBeLessThanOrEqual(Math.max(1, (delta * 8) / 63));
        },
      ),
    );
  });
});
