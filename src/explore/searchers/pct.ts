// PCT over the points (Burckhardt et al., ASPLOS 2010): the run is quiet, or every other time that of a seed, but for as many changes of who goes on as the depth
// says, at points drawn evenly. Of a mistake that takes d of them, each run finds it with a probability of 1/points^d at least.
//
// The first half of the runs has one change; what takes more is rarer, and what takes one is the easier to read.

import { SeededRandom } from '../../kernel/random.ts';
import { type Decision, type Plan, QUIET } from '../plan.ts';
import {
  KINDS,
  type Kind,
  type Outcome,
  pointsOf,
  type Searcher,
  type SearcherOptions,
  type SearcherState,
} from '../searcher.ts';

export class PctSearcher implements Searcher {
  readonly #options: SearcherOptions;
  readonly #kinds: readonly Kind[];
  readonly #stores: ReadonlyMap<number, number>;
  #made: number;
  /** The most points that a run came to. */
  #visits: number;

  constructor(options: SearcherOptions) {
    this.#options = options;
    const { kinds = KINDS, first } = options;
    this.#kinds = kinds.filter((kind) => kind !== 'w');
    this.#stores = new Map(kinds.includes('w') ? first.stores : []);
    this.#made = Number(options.state?.made ?? 0);
    this.#visits = Number(options.state?.visits ?? pointsOf(options.first));
  }

  get state(): SearcherState {
    return { made: this.#made, visits: this.#visits };
  }

  next(): Plan {
    const { preemptions, seed } = this.#options;
    const random = new SeededRandom((seed ^ 0x9e3779b9) + this.#made++);
    const depth = preemptions < 2 || random.below(2) === 0 ? 1 : 2 + random.below(preemptions - 1);
    const at = new Set<number>();
    while (at.size < Math.min(depth, this.#visits)) at.add(this.#visit(random));
    const decisions = [...at].sort((a, b) => a - b).map((visit) => this.#decision(visit, random));
    // Seeds have tasks on other CPUs than the quiet choices.
    return { base: this.#made % 2 === 1 ? QUIET : `s${this.#made}+`, decisions };
  }

  /** Every fourth is one of those few where stores wait in the run without decisions. */
  #visit(random: SeededRandom): number {
    const stores = [...this.#stores.keys()];
    return stores.length > 0 && (this.#kinds.length === 0 || random.below(4) === 0)
      ? stores[random.below(stores.length)]
      : random.below(this.#visits);
  }

  /** And there mostly they are what it is about. */
  #decision(visit: number, random: SeededRandom): Decision {
    const kind = this.#kinds[random.below(this.#kinds.length)];
    const stores = this.#stores.get(visit);
    return stores && (this.#kinds.length === 0 || random.below(4) > 0)
      ? { visit, kind: 'w', stores: random.below(stores) }
      : { visit, kind };
  }

  done(outcome: Outcome): undefined {
    this.#visits = Math.max(this.#visits, pointsOf(outcome));
  }
}
