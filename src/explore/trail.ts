// Where a run was at each of its points: two runs that have been equal so far have equal trails.
//
// A task that is to be preempted goes on until it can be. Where its run is that of the one before for some more of its points,
// to ask for it at one of those is the same: the run is where it was, and is asked for what it has been asked for.
//
// Invariant: what is executed and by whom is in a trail, so that no two runs have the same one by chance.

import type { Visit } from './steered_run.ts';

/** Two numbers a point: instructions executed before, and who is there. */
export type Trail = readonly number[];

/** CPUs that a machine may have, at most. */
const CPUS = 64;

export const trailOf = (visits: readonly Visit[]): Trail =>
  visits.flatMap(({ at, pid, cpu }) => [at, pid * CPUS + cpu]);

/** Later points at which a preemption comes to the same as at this one. @param run that which had it there @param before the same run without it */
export function alikeTo(visit: number, run: Trail, before: Trail): number[] {
  const alike: number[] = [];
  const who = before[2 * visit + 1];
  for (let at = visit + 1; 2 * at < Math.min(run.length, before.length); at++) {
    if (run[2 * at] !== before[2 * at] || run[2 * at + 1] !== before[2 * at + 1]) break;
    if (before[2 * at + 1] === who) alike.push(at);
  }
  return alike;
}
