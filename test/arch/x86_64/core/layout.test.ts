import { describe, expect, it } from 'vitest';
import * as LAYOUT from '../../../../src/arch/x86_64/core/layout.ts';

/** Offsets within something, sizes and numbers: no places in linear memory. */
const NO_PLACE = /^(OP|BLOCK|NOTE|MAX|MOST)_|_(SIZE|ENTRIES|SETS|BITS|HALF|SET|MOST)$|^(ENTERED|LEFT_IT)$/;
const PLACES = ['NOTE_COUNT', 'ELSEWHERE_SIZE'];
/** The same place by two names. */
const SAME = new Set(['TABLES', 'ARENA_END']);

describe('the layout of the core’s linear memory', () => {
  it('gives every place to one thing', () => {
    const places = new Map<number, string>();
    for (const [name, at] of Object.entries(LAYOUT)) {
      if (typeof at !== 'number' || at < LAYOUT.REGS || SAME.has(name)) continue;
      if (NO_PLACE.test(name) && !PLACES.includes(name)) continue;
      expect(`${name} and ${places.get(at) ?? 'nothing'} at ${at}`).toBe(`${name} and nothing at ${at}`);
      places.set(at, name);
    }
    expect(places.size).toBeGreaterThan(30);
  });
});
