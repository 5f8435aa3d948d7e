import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration, parseSize } from '../../src/scenario/units.ts';

describe('durations', () => {
  it('are read with each unit', () => {
    const read = ['3ns', '10us', '250ms', '1.5s', '2m', '1.5 s'].map(parseDuration);
    expect(read).toEqual([3, 10e3, 250e6, 1.5e9, 120e9, 1.5e9]);
  });

  it('are refused without a unit, negative or too long to count in ns', () => {
    for (const text of ['5', '', 's', '-1s', '1e3s', '1h', '99999999999s']) {
      expect(parseDuration(text)).toBeUndefined();
    }
  });

  it('are printed in three digits, and read back to what is printed', () => {
    expect([0, 7, 812_345, 60e6, 1.5249e9, 999.6e6].map(formatDuration)).toEqual([
      '0',
      '7ns',
      '812us',
      '60ms',
      '1.52s',
      '1000ms',
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e12 }), (ns) => {
        const back = parseDuration(formatDuration(ns)) as number;
        expect(Math.abs(back - ns)).toBeLessThanOrEqual(ns / 200);
      }),
    );
  });
});

describe('sizes', () => {
  it('are whole numbers with a unit', () => {
    expect(['64MiB', '512KiB', '7B', '64M', '1.5MiB'].map(parseSize)).toEqual([
      64 << 20,
      512 << 10,
      7,
      undefined,
      undefined,
    ]);
  });
});
