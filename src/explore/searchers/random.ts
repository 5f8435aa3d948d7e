// Random: seeds of all choices one after the other, each with a few things done at points drawn at random.

import { SeededRandom } from '../../kernel/random.ts';
import type { Plan } from '../plan.ts';
import { pointsOf, type Searcher, type SearcherOptions, type SearcherState } from '../searcher.ts';

export class RandomSearcher implements Searcher {
  readonly #options: SearcherOptions;
  #made: number;

  constructor(options: SearcherOptions) {
    this.#options = options;
    this.#made = Number(options.state?.made ?? 0);
  }

  get state(): SearcherState {
    return { made: this.#made };
  }

  next(): Plan {
    const { preemptions, seed, first } = this.#options;
    const visits = pointsOf(first);
    const random = new SeededRandom(seed + this.#made);
    const base = `s${(seed + this.#made++) >>> 0}+`;
    const count = random.below(preemptions + 1);
    const at = [...new Set(Array.from({ length: count }, () => random.below(visits)))].sort((a, b) => a - b);
    return { base, decisions: at.map((visit) => ({ visit, kind: random.below(2) === 0 ? 'p' : 'h' })) };
  }

  done(): undefined {
    return undefined;
  }
}
