// The table of docs/mutants.md: what a row says, and where it goes.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { rowOf, withRow } from '../../scripts/mutants/figures.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/mutants.md'), 'utf8');
const FIGURES = {
  of: 'fs',
  mutants: 1234,
  seed: 3,
  run: 20,
  killed: 12,
  endless: 1,
  bySequences: 2,
  equivalent: 4,
};

describe('figures of a sample', () => {
  it('count the open ones, and the share of those that something can tell, rounded down', () => {
    expect(rowOf(FIGURES)).toBe('| `fs` | 1,234 | 3 | 20 | 12 | 1 | 2 | 4 | 4 | 75 % |');
    expect(rowOf({ ...FIGURES, killed: 11 })).toContain('| 11 | 1 | 2 | 4 | 5 | 68 % |');
    expect(rowOf({ ...FIGURES, run: 4, killed: 0 })).toContain('| 0 | 1 | 2 | 4 | 0 | - |');
  });

  it('have a row in the page: a new one at the end of the table, one that is there anew in its place', () => {
    const lines = (page: string) => page.split('\n');
    const once = withRow(PAGE, FIGURES);
    expect(lines(once)).toHaveLength(lines(PAGE).length + 1);
    const twice = withRow(once, { ...FIGURES, seed: 4 });
    expect(lines(twice).indexOf(rowOf({ ...FIGURES, seed: 4 }))).toBe(lines(once).indexOf(rowOf(FIGURES)));
    expect(lines(twice)).toHaveLength(lines(once).length);
    expect(() => withRow('no table', FIGURES)).toThrow('no table that begins with');
  });
});
