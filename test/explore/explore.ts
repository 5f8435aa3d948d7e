// What tests of exploring share: scenarios of the fixtures, explored in this thread.

import { join } from 'node:path';
import { type Execution, type ExecutionOptions, execute, learnPoints } from '../../src/explore/execution.ts';
import { courseOf, type Explored, executedOf, explore } from '../../src/explore/explore.ts';
import type { ProblemKind } from '../../src/explore/judges.ts';
import { QUIET } from '../../src/explore/plan.ts';
import type { Points } from '../../src/explore/points.ts';
import type { Kind } from '../../src/explore/searcher.ts';
import { SEARCHERS, type SearcherName } from '../../src/explore/searchers/index.ts';
import { loadScenario } from '../../src/scenario/parse.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';

const root = join(import.meta.dirname, '../..');

/** On the core, whatever else the tests run on: Unicorn observes nothing. */
export function fixture(name: string): Scenario {
  const scenario = loadScenario(join(root, `fixtures/scenarios/${name}.yaml`));
  return { ...scenario, machine: { ...scenario.machine, engine: 'core' } };
}

export interface Wanted {
  readonly searcher?: SearcherName;
  readonly preemptions?: number;
  readonly seed?: number;
  /** Schedules. */
  readonly most: number;
  readonly known?: readonly ProblemKind[];
  readonly prepare?: ExecutionOptions['prepare'];
  readonly at?: string;
  readonly kinds?: readonly Kind[];
}

interface Result extends Explored {
  readonly points: Points;
  /** The run without decisions. */
  readonly first: Execution;
}

/** Explores until something is found, or `most` schedules are done. */
export async function explored(scenario: Scenario, wanted: Wanted): Promise<Result> {
  const { searcher = 'pct', preemptions = 2, seed = 1, most, known = [], prepare, at = '', kinds } = wanted;
  const options = { at, ...(prepare ? { prepare } : {}) };
  const { points } = await learnPoints(scenario, options);
  const first = await execute(scenario, points, { base: QUIET, decisions: [] }, options);
  const here = (plan: Execution['plan']) => execute(scenario, points, plan, options);
  let done = 0;
  const result = await explore({
    searcher: SEARCHERS[searcher]({
      preemptions,
      seed,
      first: courseOf(first),
      ...(kinds ? { kinds } : {}),
    }),
    places: [
      {
        run: async (plan, hash) => {
          done++;
          return executedOf(await execute(scenario, points, plan, { ...options, hash }));
        },
      },
    ],
    here,
    known,
    isOver: () => done >= most,
  });
  return { ...result, points, first };
}
