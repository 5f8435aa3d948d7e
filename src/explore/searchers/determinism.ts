// Determinism: each of PCT's schedules runs twice, and must have the same events.

import type { Plan } from '../plan.ts';
import { planText } from '../plan.ts';
import type { Outcome, Searcher, SearcherOptions, SearcherState } from '../searcher.ts';
import { PctSearcher } from './pct.ts';

export class DeterminismSearcher implements Searcher {
  readonly hashes = true;
  readonly #plans: PctSearcher;
  #again: Plan | undefined;
  /** Of plans that ran once. */
  readonly #hashes = new Map<string, string>();

  constructor(options: SearcherOptions) {
    this.#plans = new PctSearcher(options);
  }

  get state(): SearcherState {
    return this.#plans.state;
  }

  next(): Plan {
    if (this.#again) {
      const plan = this.#again;
      this.#again = undefined;
      return plan;
    }
    this.#again = this.#plans.next();
    return this.#again;
  }

  done({ plan, hash = '' }: Outcome): string | undefined {
    const key = planText(plan);
    const before = this.#hashes.get(key);
    if (before === undefined) {
      this.#hashes.set(key, hash);
      return undefined;
    }
    this.#hashes.delete(key);
    return before === hash ? undefined : 'two runs of one schedule have different events';
  }
}
