// What a searcher wants done to a run: at which of the points that it comes to, in their order, something is done.

import type { Action } from '../machine/schedule.ts';

export interface Decision {
  /** Which of the points that the run comes to. */
  readonly visit: number;
  readonly kind: Action['kind'];
  /** w: how many stores of the host function are visible. */
  readonly stores?: number;
}

/** The quiet choices, with host functions that pause behind their stores. */
export const QUIET = 'q+';

export interface Plan {
  /** Of the choices between: `q+`, or `s` and a seed and `+` (src/machine/schedule.ts). */
  readonly base: string;
  /** In the order of their visits. */
  readonly decisions: readonly Decision[];
}

export const planText = ({ base, decisions }: Plan): string =>
  [
    base,
    ...decisions.map(
      ({ visit, kind, stores }) => `${kind}${visit}${stores === undefined ? '' : `/${stores}`}`,
    ),
  ].join(' ');
