// Times that are rounded to a whole second, as round_jiffies_common() of kernel/time/timer.c does it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { roundJiffiesRelative } from '../../src/kernel/jiffies.ts';

const C = BUILT_IN.constants;

describe('round_jiffies_relative()', () => {
  it('goes down in the first quarter of a second, up behind it, and never to what is over', () => {
    // HZ is 250, jiffies begin at 2^32 - 300 * HZ: 46 jiffies behind a whole second.
    const initial = (2 ** 32 - 300 * 250) % 250;
    const due = (now: number, cpu = 0, delay = 250) => {
      return roundJiffiesRelative(250, delay, cpu, now) + now / 4e6;
    };
    const whole = 250 - initial;
    const now = (jiffies: number) => (whole + jiffies) * 4e6;
    expect(due(now(0))).toBe(whole + 250);
    // HZ / 4 is an int: 62, and the 62nd jiffy is not below it.
    expect(due(now(61))).toBe(whole + 250);
    expect(due(now(62))).toBe(whole + 500);
    expect(due(now(249))).toBe(whole + 500);
    // A short delay that would be rounded to what is over is taken as it is.
    expect(due(now(10), 0, 5)).toBe(whole + 15);
    expect(due(now(0), 0, 0)).toBe(whole + 0);
    expect(due(now(0), 2)).toBe(whole + 250 - 6);
  });

  it('keeps three jiffies between one CPU and the next', () => {
    const at = [0, 1, 2, 7].map((cpu) => roundJiffiesRelative(C.HZ, C.HZ, cpu, 0.4e9));
    expect(at.map((jiffies) => (at[0] - jiffies + C.HZ) % C.HZ)).toEqual([0, 3, 6, 21]);
  });

  it('falls on one jiffy of the second for each CPU, a quarter to five quarters of a second from now', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e12 }), fc.integer({ min: 0, max: 7 }), (now, cpu) => {
        const delay = roundJiffiesRelative(C.HZ, C.HZ, cpu, now);
        const jiffy = Math.floor(now / 4e6) + delay + 2 ** 32 - 300 * C.HZ;
        expect((jiffy + 3 * cpu) % C.HZ).toBe(0);
        expect(delay).toBeGreaterThan(0);
        expect(delay).toBeLessThanOrEqual(1.76 * C.HZ);
      }),
    );
  });
});
