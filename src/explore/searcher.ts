// What a searcher is: it says which plan comes next, and hears what came of each. Several may be under way at once.

import type { Decision, Plan } from './plan.ts';
import type { Trail } from './trail.ts';

export type Kind = Decision['kind'];
export const KINDS: readonly Kind[] = ['p', 'h', 'w'];

/** Of points that a run came to. */
export type Stores = readonly (readonly [visit: number, stores: number])[];

/** What a run came to. */
export interface Course {
  /** Where it was at each of its points. */
  readonly trail: Trail;
  /** Points where stores wait: which, and how many do. */
  readonly stores: Stores;
  /** By point: what is read from there to the next (footprints.ts). */
  readonly near?: readonly number[];
  /** Points at which a CPU that stood still would do so in vain. */
  readonly alone?: readonly number[];
}

/** How many points it came to. */
export const pointsOf = ({ trail }: Pick<Course, 'trail'>): number => trail.length / 2;

/** What a searcher hears of an execution. */
export interface Outcome extends Course {
  readonly plan: Plan;
  readonly pointless: boolean;
  /** What others wrote while the CPU of the last decision stood still, or its task was kept from one. */
  readonly met?: number;
  /** Something was wrong with it. */
  readonly found: boolean;
  /** Of its events, where the searcher asked for it. */
  readonly hash?: string;
}

export interface Searcher {
  /** Executions are to have a hash. */
  readonly hashes?: boolean;
  /** undefined: nothing more to be done now; once nothing is under way, at all. */
  next(): Plan | undefined;
  /** @returns a sentence where the searcher itself finds something wrong */
  done(outcome: Outcome): string | undefined;
  /** Plans that it left out: they come to the same as others. */
  readonly leftOut?: number;
  /** What it has done and what is left, for one that comes after it. */
  readonly state: SearcherState;
}

/** Plain data. */
export type SearcherState = Readonly<Record<string, unknown>>;

export interface SearcherOptions {
  readonly preemptions: number;
  readonly seed: number;
  /** Of the run without any decision. */
  readonly first: Course;
  /** What may be done; all, where nothing is said. */
  readonly kinds?: readonly Kind[];
  /** That of a searcher before, which this one goes on from. */
  readonly state?: SearcherState;
  /** For `replay`. */
  readonly schedule?: string;
}
