// All moments of a run: machines of the same history, so that a moment that is over is come to again from an earlier one.
//
// A machine cannot be copied (host calls under way are generators), so one that has gone on is no earlier moment any more.
// Some that wait at earlier moments are kept; where none does, a machine boots and executes all of it again.
//
// Invariant: the same scenario, seed and schedule are the same execution, whoever looks at it; no more than MOST_KEPT
// machines are kept beside the one that is debugged.

import type { Scenario } from '../scenario/scenario.ts';
import { positionOf } from './debuggee.ts';
import { type DrivenOptions, DrivenRun } from './driven_run.ts';

/** Machines that wait at earlier moments; each takes some MiB. */
const MOST_KEPT = 4;

export class Timeline {
  readonly #scenario: Scenario;
  readonly #options: DrivenOptions;
  readonly #kept: DrivenRun[] = [];
  /** How many machines were booted. */
  booted = 0;

  constructor(scenario: Scenario, options: DrivenOptions = {}) {
    this.#scenario = scenario;
    this.#options = options;
  }

  /** A machine at its first moment. */
  boot(): Promise<DrivenRun> {
    this.booted++;
    return DrivenRun.boot(this.#scenario, this.#options);
  }

  /** A machine of its own that has executed so many instructions, or all there are. */
  async at(position: number): Promise<DrivenRun> {
    const run = this.#take(position) ?? (await this.boot());
    await run.go(position);
    return run;
  }

  /** The latest of those kept that is not behind a moment. */
  #take(position: number): DrivenRun | undefined {
    const fit = this.#kept.filter((run) => positionOf(run) <= position);
    const best = fit.reduce<DrivenRun | undefined>(
      (found, run) => (found && positionOf(found) >= positionOf(run) ? found : run),
      undefined,
    );
    if (best) this.#kept.splice(this.#kept.indexOf(best), 1);
    return best;
  }

  get kept(): number[] {
    return this.#kept.map(positionOf);
  }

  /** For later; the one that waits longest goes. */
  keep(run: DrivenRun): void {
    this.#kept.push(run);
    if (this.#kept.length > MOST_KEPT) this.#kept.shift()?.close();
  }

  close(): void {
    for (const run of this.#kept.splice(0)) run.close();
  }
}
