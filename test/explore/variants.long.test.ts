// Mistakes that are planted one at a time are found, and without them nothing is.

import { describe, expect, it } from 'vitest';
import { explored, fixture } from './explore.ts';
import { PLANTED } from './planted.ts';

describe('a mistake that is planted is found', () => {
  it.each(PLANTED)('$name, in $scenario', async ({ plant: prepare, scenario, wanted, finds }) => {
    const { found } = await explored(fixture(scenario), { ...wanted, prepare });
    expect(found?.problems.map(({ text }) => text).join('\n')).toMatch(finds);
  });
});

describe('the core as it is goes wrong in none of the same orders', () => {
  it.each(PLANTED)('$name, in $scenario', async ({ scenario, wanted, without }) => {
    const most = Math.min(wanted.most, 100);
    const result = await explored(fixture(scenario), {
      ...wanted,
      most,
      ...(without ? { prepare: without } : {}),
    });
    expect(result.found?.problems).toBeUndefined();
    expect(result.first.problems.filter(({ kind }) => !wanted.known?.includes(kind))).toEqual([]);
    expect(result.complete || result.schedules === most).toBe(true);
  });
});
