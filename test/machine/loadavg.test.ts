import { describe, expect, it } from 'vitest';
import { decayed } from '../../src/machine/boot/loadavg.ts';

const FIXED_1 = 2048n;
const EXP_1 = 1884n;

describe('an average of load', () => {
  it('rises towards what is active, and is it in the end', () => {
    let load = 0n;
    const seen = Array.from({ length: 200 }, () => (load = decayed(load, EXP_1, FIXED_1)));
    expect(seen.slice(0, 3)).toEqual([164n, 315n, 454n]);
    expect(seen.every((value, i) => i === 0 || value >= seen[i - 1])).toBe(true);
    expect(load).toBe(FIXED_1);
  });

  it('falls to nothing where nothing is active', () => {
    let load = 3n * FIXED_1;
    for (let i = 0; i < 200; i++) load = decayed(load, EXP_1, 0n);
    expect(load).toBe(0n);
  });
});
