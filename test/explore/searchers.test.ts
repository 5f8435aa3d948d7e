// Searchers of schedules: what they try, and that they try it once.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Plan, planText } from '../../src/explore/plan.ts';
import type {
  Course,
  Outcome,
  Searcher,
  SearcherOptions,
  SearcherState,
  Stores,
} from '../../src/explore/searcher.ts';
import { SEARCHERS } from '../../src/explore/searchers/index.ts';

/** Of a run with so many points, which goes another way behind each thing that is done. */
const course = (points: number, { decisions }: Pick<Plan, 'decisions'> = { decisions: [] }): Course => ({
  trail: Array.from({ length: points }, (_, point) => [
    point + 1000 * decisions.filter(({ visit }) => visit < point).length,
    1,
  ]).flat(),
  stores: [],
});

const ran = (plan: Plan, points: number): Outcome => ({
  plan,
  ...course(points, plan),
  pointless: false,
  found: false,
});

const OPTIONS: SearcherOptions = { preemptions: 2, seed: 1, first: course(5) };

/** Has a searcher do all that it has, in runs of as many points. @returns its plans */
function all(searcher: Searcher, visits: number, most = Number.POSITIVE_INFINITY): string[] {
  const plans: string[] = [];
  for (let plan = searcher.next(); plan && plans.length < most; plan = searcher.next()) {
    plans.push(planText(plan));
    searcher.done(ran(plan, visits));
  }
  return plans;
}

describe('the bounded searcher', () => {
  it('tries each set of decisions once, those with fewer first', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3 }), (visits, preemptions) => {
        const plans = all(SEARCHERS.bounded({ ...OPTIONS, first: course(visits), preemptions }), visits);
        const choose = (k: number): number => (k === 0 ? 1 : (choose(k - 1) * (visits - k + 1)) / k);
        let expected = 0;
        for (let k = 1; k <= preemptions; k++) expected += choose(k) * 2 ** k;
        expect(plans.length).toBe(expected);
        expect(new Set(plans).size).toBe(expected);
        const depths = plans.map((plan) => plan.split(' ').length);
        expect(depths).toEqual(depths.toSorted((a, b) => a - b));
      }),
    );
  });

  it('goes on from its state: nothing is left out, nothing done twice', () => {
    const whole = all(SEARCHERS.bounded(OPTIONS), 5);
    for (const cut of [0, 1, 7, 12, 30]) {
      const first = SEARCHERS.bounded(OPTIONS);
      const done: string[] = [];
      for (let i = 0; i < cut; i++) {
        const plan = first.next();
        if (!plan) break;
        done.push(planText(plan));
        first.done(ran(plan, 5));
      }
      const state = JSON.parse(JSON.stringify(first.state)) as SearcherState;
      expect([...done, ...all(SEARCHERS.bounded({ ...OPTIONS, state }), 5)]).toEqual(whole);
    }
  });

  it('goes on from no decision that changed nothing', () => {
    const searcher = SEARCHERS.bounded(OPTIONS);
    const plans: string[] = [];
    for (let plan = searcher.next(); plan; plan = searcher.next()) {
      plans.push(planText(plan));
      searcher.done({ ...ran(plan, 5), pointless: plan.decisions[0].kind === 'h' });
    }
    expect(plans.some((plan) => /^q\+ h\d+ /.test(plan))).toBe(false);
    expect(plans.some((plan) => /^q\+ p\d+ h/.test(plan))).toBe(true);
  });
});

describe('what comes to the same', () => {
  /** Has it do all in runs of five points that go as the run before up to a point behind the decision. */
  const plansOf = (first: Course, asBefore: number): string[] => {
    const searcher = SEARCHERS.bounded({ ...OPTIONS, preemptions: 1, first });
    const plans: string[] = [];
    for (let plan = searcher.next(); plan; plan = searcher.next()) {
      plans.push(planText(plan));
      const [{ visit }] = plan.decisions;
      const trail = first.trail.map((one, i) => (i > 2 * (visit + asBefore) + 1 ? one + 1000 : one));
      searcher.done({ ...ran(plan, 5), trail });
    }
    expect(plans.length + (searcher.leftOut ?? 0)).toBe(10);
    return plans;
  };

  it('is a preemption of a task that goes on as before to where it is asked for again', () => {
    expect(plansOf(course(5), 2).filter((plan) => plan.includes(' p'))).toEqual(['q+ p0', 'q+ p3']);
  });

  it('is none of another task', () => {
    const { trail } = course(5);
    const others = { trail: trail.map((one, i) => (i % 4 === 1 ? 2 : one)), stores: [] };
    expect(plansOf(others, 1).filter((plan) => plan.includes(' p'))).toHaveLength(5);
  });

  it('is to stand still where nobody else has anything to do', () => {
    const plans = plansOf({ ...course(5), alone: [1, 4] }, 0);
    expect(plans.filter((plan) => plan.includes(' h'))).toEqual(['q+ h0', 'q+ h2', 'q+ h3']);
    const stores: Stores = [
      [1, 2],
      [2, 1],
    ];
    const first = { ...course(5), alone: [1], stores };
    expect(all(SEARCHERS.bounded({ ...OPTIONS, preemptions: 1, first, kinds: ['w'] }), 5)).toEqual([
      'q+ w2/0',
    ]);
  });
});

describe('where stores wait', () => {
  const stores: Stores = [[3, 2]];
  const first = { ...course(5), stores };

  it('the bounded searcher tries each number of them that others may see', () => {
    const plans = all(SEARCHERS.bounded({ ...OPTIONS, preemptions: 1, first }), 5);
    expect(plans.filter((plan) => plan.includes(' w'))).toEqual(['q+ w3/0', 'q+ w3/1']);
  });

  it('they are all that is done, where that is wanted', () => {
    const options = { ...OPTIONS, preemptions: 1, first, kinds: ['w'] as const };
    expect(all(SEARCHERS.bounded(options), 5)).toEqual(['q+ w3/0', 'q+ w3/1']);
    for (const plan of all(SEARCHERS.pct(options), 5, 20)) expect(plan).toMatch(/ w3\/[01]$/);
  });
});

describe('searchers by chance', () => {
  it.each(['pct', 'random'] as const)('%s: the same seed, the same plans; another seed, others', (name) => {
    const plans = (seed: number) => all(SEARCHERS[name]({ ...OPTIONS, seed, first: course(100) }), 100, 50);
    expect(plans(3)).toEqual(plans(3));
    expect(plans(3)).not.toEqual(plans(4));
  });

  it.each(['pct', 'random'] as const)(
    '%s has no more decisions than it may, each at a point there is',
    (name) => {
      for (const preemptions of [1, 2, 4]) {
        const searcher = SEARCHERS[name]({ ...OPTIONS, preemptions, first: course(40) });
        const depths = new Set<number>();
        for (let i = 0; i < 200; i++) {
          const decisions = searcher.next()?.decisions ?? [];
          depths.add(decisions.length);
          expect(decisions.length).toBeLessThanOrEqual(preemptions);
          for (const { visit } of decisions) expect(visit).toBeLessThan(40);
        }
        expect(depths.has(preemptions)).toBe(true);
      }
    },
  );
});

describe('the searcher for determinism', () => {
  it('runs each plan twice, and finds two that differ', () => {
    const searcher = SEARCHERS.determinism(OPTIONS);
    const told: (string | undefined)[] = [];
    for (const hash of ['a', 'a', 'b', 'c']) {
      const plan = searcher.next();
      if (plan) told.push(searcher.done({ ...ran(plan, 5), hash }));
    }
    expect(told).toEqual([undefined, undefined, undefined, 'two runs of one schedule have different events']);
  });
});

describe('replay', () => {
  it('runs its schedule once', () => {
    expect(all(SEARCHERS.replay({ ...OPTIONS, schedule: 'q,p0@7' }), 5)).toEqual(['q,p0@7']);
  });
});
