// Two things done, at a few points: what the bounded searcher runs, leaving out and joining what it may, comes to all that every schedule
// of them comes to, and to nothing else. The schedules are made here, by no searcher.

import { describe, expect, it } from 'vitest';
import { pairScenario, QUIET_NS } from '../../scripts/pair_scenarios.ts';
import { type Execution, type ExecutionOptions, learnPoints } from '../../src/explore/execution.ts';
import { courseOf, executedOf } from '../../src/explore/explore.ts';
import { problemKey } from '../../src/explore/judges.ts';
import { States } from '../../src/explore/order.ts';
import type { Decision } from '../../src/explore/plan.ts';
import { BoundedSearcher } from '../../src/explore/searchers/bounded.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';
import { run } from './livepatchs.ts';

const DEPTH = 2;

/** What schedules came to. */
class Seen {
  readonly problems = new Set<string>();
  /** What livepatch did, in its order and on which CPUs. */
  readonly outcomes = new Set<string>();
  schedules = 0;

  add(events: readonly string[], { problems, isKnown }: Execution): void {
    this.schedules++;
    for (const problem of problems) this.problems.add(problemKey(problem));
    // One that joins another has that one's end.
    if (!isKnown) this.outcomes.add(events.join('\n'));
  }
}

type Runs = (decisions: readonly Decision[], more?: ExecutionOptions) => Promise<[string[], Execution]>;

/** Each thing at each point, and each at each later one of what came of that. What is wrong is not gone on from, nor what changed nothing. */
async function everySchedule(runs: Runs): Promise<Seen> {
  const seen = new Seen();
  const from = async (decisions: readonly Decision[]): Promise<void> => {
    const [events, execution] = await runs(decisions);
    seen.schedules++;
    if (execution.pointless) return;
    seen.schedules--;
    seen.add(events, execution);
    if (execution.problems.length > 0 || decisions.length === DEPTH) return;
    const { visits } = execution;
    for (let visit = (decisions.at(-1)?.visit ?? -1) + 1; visit < visits.length; visit++) {
      for (const kind of ['h', 'p'] as const) await from([...decisions, { visit, kind }]);
      for (let stores = 0; stores < visits[visit].stores; stores++)
        await from([...decisions, { visit, kind: 'w', stores }]);
    }
  };
  await from([]);
  return seen;
}

async function reduced(runs: Runs): Promise<Seen> {
  const seen = new Seen();
  const [events, first] = await runs([]);
  seen.add(events, first);
  const searcher = new BoundedSearcher({
    preemptions: DEPTH,
    seed: 1,
    first: courseOf(first),
  });
  const states = new States();
  let joined = 0;
  for (let plan = searcher.next(); plan; plan = searcher.next()) {
    const [did, execution] = await runs(plan.decisions, { states });
    if (execution.pointless) seen.schedules++;
    else seen.add(did, execution);
    if (execution.isKnown) joined++;
    searcher.done({ plan, ...executedOf(execution), found: execution.problems.length > 0 });
  }
  expect(searcher.leftOut + joined).toBeGreaterThan(20);
  return seen;
}

interface Few {
  readonly scenario: Scenario;
  /** Points. */
  readonly at: string;
  readonly fromStep?: number;
  readonly quietNs?: number;
}

const pair = (a: string, b: string, at: string): Few => ({
  ...pairScenario(a, b, 'classic'),
  at,
  quietNs: QUIET_NS,
});

const FEW: readonly (readonly [string, Few, problems: number])[] = [
  ['enable and disable', pair('enable', 'disable', 'ftrace_trampoline,klp_ftrace_handler'), 1],
  [
    'reverse and fork',
    pair('reverse', 'fork', 'klp_update_patch_state+0x11,klp_update_patch_state+0x1f,copy_process'),
    0,
  ],
];

describe('all schedules of two things done', () => {
  it.each(FEW)('in %s: the same problems, and livepatch does the same', async (_words, few, problems) => {
    const { scenario, ...options } = few;
    const { points } = await learnPoints(scenario, options);
    const runs: Runs = (decisions, more) => run(scenario, points, decisions, { ...options, ...more });
    const [all, some] = [await everySchedule(runs), await reduced(runs)];
    expect([...some.problems].sort()).toEqual([...all.problems].sort());
    expect([...some.outcomes].sort()).toEqual([...all.outcomes].sort());
    expect(all.problems.size).toBe(problems);
    expect(all.outcomes.size).toBeGreaterThan(3);
    expect(some.schedules).toBeLessThan(all.schedules);
  });
});
