// Makes what was found as small as it goes: without chance where that is enough, and with no decision that it does not need.
//
// A decision is known by its point, its task, and which time the task comes there: where an earlier decision is gone, the later
// ones are looked for again.

import type { Execution } from './execution.ts';
import { problemKey } from './judges.ts';
import { type Decision, type Plan, QUIET } from './plan.ts';
import type { Visit } from './steered_run.ts';

interface Place extends Pick<Visit, 'point' | 'pid'>, Omit<Decision, 'visit'> {
  /** Times the task comes to the point before. */
  readonly nth: number;
}

type Run = (plan: Plan) => Promise<Execution>;

/** @returns the smallest execution with the same first problem that it came to. */
export async function shrink(found: Execution, run: Run): Promise<Execution> {
  const wanted = problemKey(found.problems[0]);
  let best = found;
  const tries = async (base: string, places: readonly Place[]): Promise<boolean> => {
    const execution = await locate(base, places, run);
    if (!execution?.problems.some((problem) => problemKey(problem) === wanted)) return false;
    best = execution;
    return true;
  };
  if (best.plan.base !== QUIET) await tries(QUIET, placesOf(best));
  for (let smaller = true; smaller; ) {
    smaller = false;
    const places = placesOf(best);
    for (let i = 0; i < places.length && !smaller; i++)
      smaller = await tries(best.plan.base, places.toSpliced(i, 1));
  }
  return best;
}

function placesOf({ plan, visits }: Execution): Place[] {
  return plan.decisions.flatMap(({ visit, ...what }) => {
    const at = visits[visit];
    if (!at) return [];
    const nth = visits.slice(0, visit).filter((one) => isSame(one, at)).length;
    return [{ point: at.point, pid: at.pid, ...what, nth }];
  });
}

const isSame = (a: Pick<Visit, 'point' | 'pid'>, b: Pick<Visit, 'point' | 'pid'>): boolean =>
  a.point === b.point && a.pid === b.pid;

/** The run that has these, one after the other; undefined where one is not come to, or changes nothing. */
async function locate(base: string, places: readonly Place[], run: Run): Promise<Execution | undefined> {
  let execution = await run({ base, decisions: [] });
  for (const { kind, stores, ...place } of places) {
    const what = stores === undefined ? { kind } : { kind, stores };
    const { decisions } = execution.plan;
    const from = (decisions.at(-1)?.visit ?? -1) + 1;
    let left = place.nth;
    const visit = execution.visits.findIndex((one, i) => isSame(one, place) && left-- === 0 && i >= from);
    if (visit < 0) return undefined;
    execution = await run({ base, decisions: [...decisions, { visit, ...what }] });
    if (execution.pointless) return undefined;
  }
  return execution;
}
