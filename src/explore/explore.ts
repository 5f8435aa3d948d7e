// Explores a scenario: has plans executed, as many at once as there is room for, until something is found, nothing is left or
// time is over; then makes what was found small.
//
// Invariant: whoever executes can do it anywhere: a plan goes out as plain data, and so does what comes back.

import type { Execution } from './execution.ts';
import type { Problem, ProblemKind } from './judges.ts';
import type { Plan } from './plan.ts';
import type { Searcher, Stores } from './searcher.ts';
import { shrink } from './shrink.ts';

/** What comes back of an execution. */
export interface Executed {
  readonly visits: number;
  readonly stores: Stores;
  readonly pointless: boolean;
  readonly isKnown: boolean;
  readonly near: readonly number[];
  readonly met: number;
  readonly alike: readonly number[];
  readonly problems: readonly Problem[];
  readonly hash?: string;
}

export interface Place {
  run(plan: Plan, hash: boolean): Promise<Executed>;
}

/** An execution as plain data. */
export function executedOf({ visits, pointless, isKnown, footprints, problems, hash }: Execution): Executed {
  const made = hash === undefined ? {} : { hash };
  const { near, met, alike } = footprints;
  return {
    visits: visits.length,
    stores: storesOf(visits),
    pointless,
    isKnown,
    near,
    met,
    alike,
    problems,
    ...made,
  };
}

export const storesOf = (visits: Execution['visits']): Stores =>
  visits.flatMap(({ stores }, visit) => (stores > 0 ? [[visit, stores] as const] : []));

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
  { pointless, isKnown, visits }: Executed,
): void {
  counts.schedules++;
  if (pointless) counts.pointless++;
  if (isKnown) counts.joined++;
  counts.visits = Math.max(counts.visits, visits);
  counts.depth = Math.max(counts.depth, decisions.length);
}
