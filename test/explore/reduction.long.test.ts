// What the bounded searcher leaves out comes to the same as what it runs in its place, and what joins another run goes on as that.

import { describe, expect, it } from 'vitest';
import { pairScenario, QUIET_NS } from '../../scripts/pair_scenarios.ts';
import { type Execution, learnPoints } from '../../src/explore/execution.ts';
import { courseOf, executedOf } from '../../src/explore/explore.ts';
import { States } from '../../src/explore/order.ts';
import { type Decision, planText } from '../../src/explore/plan.ts';
import type { Course } from '../../src/explore/searcher.ts';
import { BoundedSearcher } from '../../src/explore/searchers/bounded.ts';
import { alikeTo, trailOf } from '../../src/explore/trail.ts';
import { fixture } from './explore.ts';
import { run } from './livepatchs.ts';

/** The first points of a run: some of each kind. */
const POINTS = 64;

function firstPoints(first: Execution): Course {
  const { trail, alone = [], ...course } = courseOf(first);
  return { ...course, trail: trail.slice(0, 2 * POINTS), alone: alone.filter((point) => point < POINTS) };
}

describe.each(['explore_gap'])('%s', (name) => {
  it('what is left out has the problems of what was run, and livepatch does the same in it', {
    timeout: 300_000,
  }, async () => {
    const scenario = fixture(name);
    const { points } = await learnPoints(scenario);
    const [, first] = await run(scenario, points, []);
    expect(first.problems).toEqual([]);
    const searcher = new BoundedSearcher({
      preemptions: 1,
      seed: 1,
      first: firstPoints(first),
      kinds: ['h', 'p'],
    });
    const { trail, alone = [] } = courseOf(first);
    const ran = new Map<string, [string[], Execution]>();
    for (let plan = searcher.next(); plan; plan = searcher.next()) {
      const [events, execution] = await run(scenario, points, plan.decisions);
      const [{ kind, visit }] = plan.decisions;
      ran.set(`${kind}${visit}`, [events, execution]);
      searcher.done({ plan, ...executedOf(execution), found: execution.problems.length > 0 });
    }
    let leftOut = 0;
    for (const kind of ['h', 'p'] as const)
      for (let visit = 0; visit < POINTS; visit++) {
        if (ran.has(`${kind}${visit}`)) continue;
        leftOut++;
        const [events, execution] = await run(scenario, points, [{ visit, kind }]);
        const others = Array.from({ length: POINTS }, (_, i) => ran.get(`${kind}${i}`));
        // Up to the next one that was run nobody else does anything.
        const later = others.findIndex((one, i) => i >= visit && (one !== undefined || alone.includes(i)));
        if (kind === 'h' && !others[later]) {
          expect(execution.pointless, `${kind}${visit}`).toBe(true);
          continue;
        }
        const alike = others.findLast(
          (one, i) => i < visit && one && alikeTo(i, trailOf(one[1].visits), trail).includes(visit),
        );
        const instead = (kind === 'p' ? alike : undefined) ?? others[later];
        expect(execution.pointless, `${kind}${visit}`).toBe(instead?.[1].pointless);
        expect(execution.problems, `${kind}${visit}`).toEqual(instead?.[1].problems);
        expect(events, `${kind}${visit}`).toEqual(instead?.[0]);
      }
    expect(leftOut).toBe(searcher.leftOut);
    expect(leftOut).toBeGreaterThan(5);
  });
});

describe('to stand still', () => {
  it('changes nothing at the points that are said to be alone, and something at all others of the pair', async () => {
    const { scenario, fromStep } = pairScenario('disable', 'force', 'classic');
    const options = { fromStep, quietNs: QUIET_NS };
    const { points } = await learnPoints(scenario, options);
    // The reader is kept from its CPU: for long there is only one who does anything.
    const first: Decision = { visit: 0, kind: 'p' };
    const [, { visits, alone }] = await run(scenario, points, [first], options);
    const begun = visits.findIndex(({ point }) => point === 'force_store');
    const inVain: number[] = [];
    for (let visit = begun; visit < visits.length; visit++) {
      const [, { pointless }] = await run(scenario, points, [first, { visit, kind: 'h' }], options);
      if (pointless) inVain.push(visit);
    }
    expect(inVain).toEqual(alone.filter((visit) => visit >= begun));
    expect(inVain.length).toBeGreaterThan(3);
    expect(inVain.length).toBeLessThan(visits.length - begun);
  });
});

/** States, and which run came to each first. */
class Noted extends States {
  /** The run that is under way, and where it is. */
  plan = '';
  at = 0;
  readonly first = new Map<number, string>();

  override has(state: number, decisions: number): boolean {
    this.at = state;
    return super.has(state, decisions);
  }
  override add(state: number, decisions: number): void {
    if (!this.has(state, decisions)) this.first.set(state, this.plan);
    super.add(state, decisions);
  }
}

describe.each([
  ['enable', 'load'],
  ['enable', 'disable'],
  ['reverse', 'fork'],
])('%s and %s', (a, b) => {
  it('what joins another run has its problems, and livepatch does the same in it to the end', {
    timeout: 600_000,
  }, async () => {
    const { scenario, fromStep } = pairScenario(a, b, 'classic');
    const { points } = await learnPoints(scenario, { quietNs: QUIET_NS });
    const [, first] = await run(scenario, points, [], { fromStep, quietNs: QUIET_NS });
    const searcher = new BoundedSearcher({
      preemptions: 1,
      seed: 1,
      first: courseOf(first),
    });
    const states = new Noted();
    const ran = new Map<string, [string[], Execution]>();
    const joined: { readonly decisions: readonly Decision[]; readonly to: string }[] = [];
    for (let plan = searcher.next(); plan; plan = searcher.next()) {
      states.plan = planText(plan);
      const done = await run(scenario, points, plan.decisions, { fromStep, states, quietNs: QUIET_NS });
      const { isKnown, problems } = done[1];
      if (isKnown) joined.push({ decisions: plan.decisions, to: states.first.get(states.at) as string });
      ran.set(states.plan, done);
      searcher.done({ plan, ...executedOf(done[1]), found: problems.length > 0 });
    }
    for (const { decisions, to } of joined) {
      const [events, { problems, schedule }] = await run(scenario, points, decisions, {
        fromStep,
        quietNs: QUIET_NS,
      });
      const other = ran.get(to) as [string[], Execution];
      // It has joined a third one itself behind that.
      const whole = other[1].isKnown
        ? await run(scenario, points, other[1].plan.decisions, { fromStep, quietNs: QUIET_NS })
        : other;
      expect(problems, schedule).toEqual(whole[1].problems);
      expect(events, schedule).toEqual(whole[0]);
    }
    expect(joined.length).toBeGreaterThan(20);
  });
});
