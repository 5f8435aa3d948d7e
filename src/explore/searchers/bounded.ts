// Bounded: every schedule of up to so many preemptions over the points (Musuvathi and Qadeer, PLDI 2007), those with fewer first.
//
// The work is a queue of prefixes: a run whose last decision was at one of its points has as successors all that do one thing
// more at a later one. A decision by which nothing changed has none: its run is that of the prefix before.
//
// Invariant: each set of decisions is run once; the state is all that is left to do.

import { type Decision, type Plan, QUIET } from '../plan.ts';
import {
  KINDS,
  type Kind,
  type Outcome,
  type Searcher,
  type SearcherOptions,
  type SearcherState,
  type Stores,
} from '../searcher.ts';

/** All plans that have these decisions, and one more at a point from `next` on, before `end`. */
interface Prefix {
  readonly decisions: readonly Decision[];
  readonly next: number;
  /** Which of the things that can be done there. */
  readonly thing: number;
  readonly end: number;
  /** Points where stores wait, and how many do. */
  readonly stores: Stores;
}

export class BoundedSearcher implements Searcher {
  readonly #preemptions: number;
  readonly #kinds: readonly Kind[];
  /** By how many decisions they have. */
  readonly #queue: Prefix[];

  constructor({ preemptions, visits, stores, kinds = KINDS, state }: SearcherOptions) {
    this.#preemptions = preemptions;
    this.#kinds = kinds;
    this.#queue = state
      ? [...(state.queue as Prefix[])]
      : [{ decisions: [], next: 0, thing: 0, end: visits, stores }];
  }

  /** Resuming does once more what was under way. */
  get state(): SearcherState {
    return { queue: this.#queue };
  }

  /** Plans that are known to be left, without what they lead to. */
  get left(): number {
    return this.#queue.reduce((sum, { next, thing, end, stores }) => {
      let all = 0;
      for (let visit = next; visit < end; visit++) all += this.#things(visit, stores).length;
      return sum + all - thing;
    }, 0);
  }

  #things(visit: number, stores: Stores): Decision[] {
    const waiting = stores.find(([at]) => at === visit)?.[1] ?? 0;
    return this.#kinds.flatMap((kind): Decision[] =>
      kind === 'w'
        ? Array.from({ length: waiting }, (_, visible) => ({ visit, kind, stores: visible }))
        : [{ visit, kind }],
    );
  }

  next(): Plan | undefined {
    for (let first = this.#queue[0]; first; first = this.#queue[0]) {
      const { decisions, next, thing, end, stores } = first;
      const here = this.#things(next, stores);
      if (thing < here.length) {
        this.#queue[0] = { ...first, thing: thing + 1 };
        return { base: QUIET, decisions: [...decisions, here[thing]] };
      }
      if (next + 1 < end) this.#queue[0] = { ...first, next: next + 1, thing: 0 };
      else this.#queue.shift();
    }
    return undefined;
  }

  done({ plan: { decisions }, visits, stores, pointless, found }: Outcome): undefined {
    const last = decisions.at(-1);
    // What goes on from where something was wrong is about that.
    if (!last || pointless || found || decisions.length >= this.#preemptions) return;
    const next = last.visit + 1;
    if (next < visits) this.#queue.push({ decisions, next, thing: 0, end: visits, stores });
  }
}
