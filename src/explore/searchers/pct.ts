// PCT over the points (Burckhardt et al., ASPLOS 2010): the run is quiet, or every other time that of a seed, but for as many changes of who goes on as the depth
// says, at points drawn evenly. Of a mistake that takes d of them, each run finds it with a probability of 1/points^d at least.
//
// The first half of the runs has one change; what takes more is rarer, and what takes one is the easier to read.

import { SeededRandom } from '../../kernel/random.ts';
import type { Plan } from '../plan.ts';
import type { Outcome, Searcher, SearcherOptions, SearcherState } from '../searcher.ts';

export class PctSearcher implements Searcher {
  readonly #options: SearcherOptions;
  #made: number;
  /** The most points that a run came to. */
  #visits: number;

  constructor(options: SearcherOptions) {
    this.#options = options;
    this.#made = Number(options.state?.made ?? 0);
    this.#visits = Number(options.state?.visits ?? options.visits);
  }

  get state(): SearcherState {
    return { made: this.#made, visits: this.#visits };
  }

  next(): Plan {
    const { preemptions, seed } = this.#options;
    const random = new SeededRandom((seed ^ 0x9e3779b9) + this.#made++);
    const depth = preemptions < 2 || random.below(2) === 0 ? 1 : 2 + random.below(preemptions - 1);
    const at = new Set<number>();
    while (at.size < Math.min(depth, this.#visits)) at.add(random.below(this.#visits));
    const decisions = [...at].sort((a, b) => a - b).map((visit) => ({ visit, kind: KINDS[random.below(2)] }));
    // Seeds have tasks on other CPUs than the quiet choices.
    return { base: this.#made % 2 === 1 ? 'q' : `s${this.#made}`, decisions };
  }

  done({ visits }: Outcome): undefined {
    this.#visits = Math.max(this.#visits, visits);
  }
}

const KINDS = ['p', 'h'] as const;
