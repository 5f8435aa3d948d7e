// What the bounded searcher leaves out comes to the same as what it runs in its place.

import { describe, expect, it } from 'vitest';
import { type Execution, execute, learnPoints } from '../../src/explore/execution.ts';
import { executedOf, storesOf } from '../../src/explore/explore.ts';
import { type Decision, QUIET } from '../../src/explore/plan.ts';
import { BoundedSearcher } from '../../src/explore/searchers/bounded.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import { fixture } from './explore.ts';

/** What livepatch does. */
const LIVEPATCHS = ['transition', 'patch_state', 'klp_module', 'gate', 'ftrace', 'gap', 'hole'];

/** But when it does it. */
const withoutTime = ({ t: _, ...event }: KernelEvent): string =>
  JSON.stringify(event, (key, value: unknown) =>
    key.endsWith('Ns') ? undefined : typeof value === 'bigint' ? `${value}` : value,
  );

/** The first points of a run: some of each kind. */
const POINTS = 64;

describe.each(['explore_gap'])('%s', (name) => {
  it('what is left out has the problems of what was run, and livepatch does the same in it', {
    timeout: 300_000,
  }, async () => {
    const scenario = fixture(name);
    const { points } = await learnPoints(scenario);
    const run = async (decisions: readonly Decision[]): Promise<[string[], Execution]> => {
      const events: string[] = [];
      const tell = {
        event: (event: KernelEvent): void => {
          if (LIVEPATCHS.includes(event.type)) events.push(withoutTime(event));
        },
        visit() {},
        action() {},
      };
      const execution = await execute(scenario, points, { base: QUIET, decisions }, { tell });
      return [events, execution];
    };
    const [, first] = await run([]);
    expect(first.problems).toEqual([]);
    const { near } = first.footprints;
    const searcher = new BoundedSearcher({
      preemptions: 1,
      seed: 1,
      visits: POINTS,
      stores: storesOf(first.visits),
      near,
      kinds: ['h', 'p'],
    });
    const ran = new Map<string, [string[], Execution]>();
    for (let plan = searcher.next(); plan; plan = searcher.next()) {
      const [events, execution] = await run(plan.decisions);
      const [{ kind, visit }] = plan.decisions;
      ran.set(`${kind}${visit}`, [events, execution]);
      searcher.done({ plan, ...executedOf(execution), found: execution.problems.length > 0 });
    }
    let leftOut = 0;
    for (const kind of ['h', 'p'] as const)
      for (let visit = 0; visit < POINTS; visit++) {
        if (ran.has(`${kind}${visit}`)) continue;
        leftOut++;
        const [events, execution] = await run([{ visit, kind }]);
        const others = Array.from({ length: POINTS }, (_, i) => ran.get(`${kind}${i}`));
        const instead =
          kind === 'h'
            ? others.slice(visit).find(Boolean)
            : others.slice(0, visit).findLast((one) => one?.[1].footprints.alike.includes(visit));
        expect(execution.pointless, `${kind}${visit}`).toBe(instead?.[1].pointless);
        expect(execution.problems, `${kind}${visit}`).toEqual(instead?.[1].problems);
        expect(events, `${kind}${visit}`).toEqual(instead?.[0]);
      }
    expect(leftOut).toBe(searcher.leftOut);
    expect(leftOut).toBeGreaterThan(5);
  });
});
