// What exploring finds unaided, in scenarios of ordinary operations: the races of docs/findings.md.

import { describe, expect, it } from 'vitest';
import { explored, fixture } from './explore.ts';

describe('explore finds', () => {
  it('a task that switches after its version was chosen', async () => {
    const { found } = await explored(fixture('explore_gap'), { most: 600 });
    expect(found?.problems[0].kind).toBe('gap');
    expect(found?.plan.decisions.length).toBe(1);
  });

  it('the hole that force leaves', async () => {
    const { found } = await explored(fixture('explore_force'), { most: 600 });
    expect(
      found?.problems.some(({ kind, text }) => kind === 'hole' && /left there by force/.test(text)),
    ).toBe(true);
  });
});

describe('schedules', () => {
  it('run twice have the same events', async () => {
    const result = await explored(fixture('explore_gap'), {
      searcher: 'determinism',
      most: 200,
      known: ['gap'],
    });
    expect(result.found).toBeUndefined();
    expect(result.schedules).toBe(200);
  });
});
