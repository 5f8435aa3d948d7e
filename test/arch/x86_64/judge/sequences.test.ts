// What instructions leave to those behind them.

import { expect, it } from 'vitest';
import { NO_UNICORN } from '../../../guest/unicorn_there.ts';
import { hostCannotJudge } from './host.ts';
import { MOST_BYTES, sequences } from './sequences.ts';
import { judgeSequences, type Result } from './session.ts';

it('a sequence is the same again for the same number, of two to eight instructions', () => {
  const [first, again] = [[...sequences(0, 60)], [...sequences(0, 60)]];
  expect(again).toEqual(first);
  for (const { steps, bytes, undefinedAfter } of first) {
    expect(steps).toBeGreaterThanOrEqual(2);
    expect(steps).toBeLessThanOrEqual(8);
    expect(bytes.length).toBeLessThanOrEqual(MOST_BYTES);
    expect(undefinedAfter).toHaveLength((steps as number) + 1);
  }
  expect(new Set(first.map(({ steps }) => steps)).size).toBe(7);
});

const without = [NO_UNICORN, hostCannotJudge()].filter(Boolean).join('; ');

it.skipIf(NO_UNICORN && hostCannotJudge())(
  `sequences of instructions end as the judges end them${without && ` (${without})`}`,
  async () => {
    const results: Result[] = [];
    await judgeSequences(1500, (result) => results.push(result));
    expect(results.flatMap(({ unicorn, host }) => [unicorn.first, host.first]).filter(Boolean)).toEqual([]);
    const [{ states, kinds, unicorn, host }] = results;
    expect(states).toBe(1500);
    if (!hostCannotJudge()) expect(host.states).toBe(750);
    if (!NO_UNICORN) expect(unicorn.states).toBeGreaterThanOrEqual(750);
    expect(kinds.budget).toBeGreaterThan(1000);
  },
);
