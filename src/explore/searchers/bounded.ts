// Bounded: every schedule of up to so many preemptions over the points (Musuvathi and Qadeer, PLDI 2007), those with fewer first.
//
// The work is a queue of prefixes: a run whose last decision was at one of its points has as successors all that do one thing
// more at a later one. A decision by which nothing changed has none: its run is that of the prefix before.
//
// Invariant: each set of decisions is run once; the state is all that is left to do.

import type { Decision, Plan } from '../plan.ts';
import type { Outcome, Searcher, SearcherOptions, SearcherState } from '../searcher.ts';

/** All plans that have these decisions, and one more at a point from `next` on, before `end`. */
interface Prefix {
  readonly decisions: readonly Decision[];
  readonly next: number;
  readonly kind: 0 | 1;
  readonly end: number;
}

const KINDS = ['p', 'h'] as const;

export class BoundedSearcher implements Searcher {
  readonly #preemptions: number;
  /** By how many decisions they have. */
  readonly #queue: Prefix[];

  constructor({ preemptions, visits, state }: SearcherOptions) {
    this.#preemptions = preemptions;
    this.#queue = state ? [...(state.queue as Prefix[])] : [{ decisions: [], next: 0, kind: 0, end: visits }];
  }

  /** Resuming does once more what was under way. */
  get state(): SearcherState {
    return { queue: this.#queue };
  }

  /** Plans that are known to be left, without what they lead to. */
  get left(): number {
    return this.#queue.reduce((sum, { next, kind, end }) => sum + 2 * (end - next) - kind, 0);
  }

  next(): Plan | undefined {
    const first = this.#queue[0];
    if (!first) return undefined;
    const { decisions, next, kind, end } = first;
    const plan: Plan = { base: 'q', decisions: [...decisions, { visit: next, kind: KINDS[kind] }] };
    const rest: Prefix = { decisions, next: next + kind, kind: kind === 0 ? 1 : 0, end };
    if (rest.next < end) this.#queue[0] = rest;
    else this.#queue.shift();
    return plan;
  }

  done({ plan: { decisions }, visits, pointless, found }: Outcome): undefined {
    const last = decisions.at(-1);
    // What goes on from where something was wrong is about that.
    if (!last || pointless || found || decisions.length >= this.#preemptions) return;
    const next = last.visit + 1;
    if (next < visits) this.#queue.push({ decisions, next, kind: 0, end: visits });
  }
}
