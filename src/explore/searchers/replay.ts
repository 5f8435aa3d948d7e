// Replay: one plan, once.

import type { Plan } from '../plan.ts';
import type { Searcher, SearcherOptions, SearcherState } from '../searcher.ts';
import { ExploreError } from '../steered_run.ts';

export class ReplaySearcher implements Searcher {
  readonly state: SearcherState = {};
  #plan: Plan | undefined;

  constructor({ schedule }: SearcherOptions) {
    if (schedule === undefined) throw new ExploreError('replay needs a schedule');
    this.#plan = { base: schedule, decisions: [] };
  }

  next(): Plan | undefined {
    const plan = this.#plan;
    this.#plan = undefined;
    return plan;
  }

  done(): undefined {
    return undefined;
  }
}
