// The pairs of operations that are explored: each is another scenario, and has both operations.

import { describe, expect, it } from 'vitest';
import { MODELS, PAIRS, pairScenario } from '../../scripts/pair_scenarios.ts';

const all = MODELS.flatMap((model) => PAIRS.map(([a, b]) => ({ a, b, model })));

/** What the machine is made to do, without what it is called. */
const doneIn = (a: string, b: string, model: (typeof MODELS)[number]): string => {
  const { scenario, fromStep } = pairScenario(a, b, model);
  const { machine, tasks, modules, steps } = scenario;
  const bare = steps.map(({ place: _, path: __, ...step }) => step);
  return JSON.stringify({ machine, tasks, modules, bare, fromStep });
};

describe('the pairs of operations', () => {
  it('are nine operations with each other and themselves, in both models', () => {
    expect(all.length).toBe(90);
    expect(new Set(PAIRS.flat()).size).toBe(9);
  });

  it('are each another scenario', () => {
    const scenarios = new Map<string, string>();
    for (const { a, b, model } of all) {
      const name = `${model} ${a}+${b}`;
      const done = doneIn(a, b, model);
      expect(scenarios.get(done), name).toBeUndefined();
      scenarios.set(done, name);
    }
  });

  it.each(all)(
    '$model: $a and $b are done behind what has to be there, two steps at once',
    ({ a, b, model }) => {
      const { scenario, fromStep } = pairScenario(a, b, model);
      const { steps } = scenario;
      // The wait from which points count, and the two.
      expect(steps.length).toBe(fromStep + 3);
      expect(steps[fromStep].verb).toBe('wait');
      for (const step of steps.slice(fromStep + 1))
        if ('background' in step) expect(step.background).toBe(true);
        else expect(['spawn', 'kill']).toContain(step.verb);
    },
  );
});
