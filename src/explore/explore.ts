// Explores a scenario: has plans executed, as many at once as there is room for, until something is found, nothing is left or
// time is over; then makes what was found small.
//
// Invariant: whoever executes can do it anywhere: a plan goes out as plain data, and so does what comes back.

import type { Execution } from './execution.ts';
import type { Problem, ProblemKind } from './judges.ts';
import type { Plan } from './plan.ts';
import { type Course, pointsOf, type Searcher, type Stores } from './searcher.ts';
import { shrink } from './shrink.ts';
import { trailOf } from './trail.ts';

/** What comes back of an execution. */
export interface Executed extends Course {
  readonly pointless: boolean;
  readonly isKnown: boolean;
  readonly met: number;
  readonly problems: readonly Problem[];
  readonly hash?: string;
}

export interface Place {
  run(plan: Plan, hash: boolean): Promise<Executed>;
}

/** An execution as plain data. */
export function executedOf(execution: Execution): Executed {
  const { pointless, isKnown, footprints, problems, hash } = execution;
  const made = hash === undefined ? {} : { hash };
  return { ...courseOf(execution), pointless, isKnown, met: footprints.met, problems, ...made };
}

/** What a run came to, as plain data. */
export const courseOf = ({ visits, footprints, alone }: Execution): Course => ({
  trail: trailOf(visits),
  stores: visits.flatMap(({ stores }, visit): Stores => (stores > 0 ? [[visit, stores]] : [])),
  near: footprints.near,
  alone,
});

interface ExploreOptions {
  readonly searcher: Searcher;
  /** Where plans are executed, each in one after the other. */
  readonly places: readonly Place[];
  /** Executes here, for what is looked at closely. */
  readonly here: (plan: Plan) => Promise<Execution>;
  /** Problems that are counted, and not stopped at. */
  readonly known?: readonly ProblemKind[];
  readonly isOver: () => boolean;
  readonly progress?: (progress: Progress) => void;
}

interface Progress {
  readonly schedules: number;
  /** Of them those that changed nothing. */
  readonly pointless: number;
  /** Of them those that came to what others had come to, and went no further. */
  readonly joined: number;
  /** The most points that a run came to, and decisions of the longest plan. */
  readonly visits: number;
  readonly depth: number;
}

export interface Explored extends Progress {
  /** What was found, as small as it goes. */
  readonly found?: Execution;
  /** The searcher has nothing left to do. */
  readonly complete: boolean;
  /** Runs with problems that are known, by kind. */
  readonly known: Readonly<Partial<Record<ProblemKind, number>>>;
}

export async function explore(options: ExploreOptions): Promise<Explored> {
  const { searcher, places, known = [], isOver } = options;
  const counts = { schedules: 0, pointless: 0, joined: 0, visits: 0, depth: 0 };
  const knownCounts: Partial<Record<ProblemKind, number>> = {};
  let hit: { readonly plan: Plan; readonly problems: readonly Problem[] } | undefined;
  let complete = false;
  let under = 0;
  let wake: (() => void)[] = [];

  const work = async (place: Place): Promise<void> => {
    while (!hit && !complete && !isOver()) {
      const plan = searcher.next();
      if (!plan) {
        if (under === 0) complete = true;
        else await new Promise<void>((resolve) => wake.push(resolve));
        continue;
      }
      under++;
      const executed = await place.run(plan, searcher.hashes === true);
      under--;
      const fresh = executed.problems.filter(({ kind }) => !known.includes(kind));
      for (const kind of new Set(executed.problems.map((one) => one.kind)))
        if (known.includes(kind)) knownCounts[kind] = (knownCounts[kind] ?? 0) + 1;
      const sentence = searcher.done({ plan, ...executed, found: executed.problems.length > 0 });
      const problems =
        sentence === undefined ? fresh : [{ kind: 'failure' as const, text: sentence }, ...fresh];
      if (problems.length > 0) hit ??= { plan, problems };
      count(counts, plan, executed);
      options.progress?.(counts);
      for (const resolve of wake) resolve();
      wake = [];
    }
    for (const resolve of wake) resolve();
  };
  await Promise.all(places.map(work));
  const result = { ...counts, complete, known: knownCounts };
  if (!hit) return result;
  const { plan, problems } = hit;
  const first = await options.here(plan);
  const small = await shrink({ ...first, problems }, options.here);
  return {
    ...result,
    found: { ...small, problems: small.problems.filter(({ kind }) => !known.includes(kind)) },
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function count(
  counts: Mutable<Progress>,
  { decisions }: Plan,
  { pointless, isKnown, trail }: Executed,
): void {
  counts.schedules++;
  if (pointless) counts.pointless++;
  if (isKnown) counts.joined++;
  counts.visits = Math.max(counts.visits, pointsOf({ trail }));
  counts.depth = Math.max(counts.depth, decisions.length);
}
