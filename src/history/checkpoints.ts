// All moments of a run: machines of the same history, so that a moment that is over is come to again from an earlier one.
//
// A machine cannot be copied (host calls under way are generators), so one that has gone on is no earlier moment any more.
// Some that wait at earlier moments are kept; where none does, a machine boots and executes all of it again.
//
// Invariant: the same scenario, seed and schedule are the same execution, whoever looks at it; no more machines are
// kept than was said beside the one that is debugged.

import { positionOf } from './debuggee.ts';
import { type BootProgram, DrivenRun } from './driven_run.ts';

/** Machines that wait at earlier moments, where nothing else is said; each takes some MiB. */
const MOST_KEPT = 4;
/** Instructions before a moment at which a machine is kept for steps back from it, and from where on that is worth it. */
const NEAR = 5000;
const FAR = 1_000_000;

export class Checkpoints {
  readonly #program: BootProgram;
  readonly #mostKept: number;
  readonly #kept: DrivenRun[] = [];
  /** One that is on its way to where it will be kept. */
  #coming: { readonly run: Promise<DrivenRun>; readonly done: Promise<void> } | undefined;
  #isClosed = false;

  /** @param mostKept machines that may wait at earlier moments */
  constructor(program: BootProgram, mostKept = MOST_KEPT) {
    this.#program = program;
    this.#mostKept = mostKept;
  }

  /** A machine at its first moment. */
  boot(): Promise<DrivenRun> {
    return DrivenRun.boot(this.#program);
  }

  /** A machine of its own that has executed so many instructions, or all there are. */
  async at(position: number): Promise<DrivenRun> {
    await this.#coming?.done;
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

  /** Has a machine come near a moment while nothing else is asked for: the way back from there is a short one then. */
  prepare(position: number): void {
    const isNear = (run: DrivenRun): boolean =>
      positionOf(run) < position && positionOf(run) >= position - 2 * NEAR;
    if (this.#mostKept === 0 || this.#coming || this.#isClosed || position < FAR || this.#kept.some(isNear))
      return;
    const run = this.boot();
    this.#coming = { run, done: this.#prepare(run, position - NEAR) };
  }

  async #prepare(booting: Promise<DrivenRun>, position: number): Promise<void> {
    const run = await booting;
    if (!this.#isClosed) await run.go(position);
    this.#coming = undefined;
    if (this.#isClosed) run.close();
    else this.#keep(run);
  }

  /** For later; the one that waits longest goes. */
  #keep(run: DrivenRun): void {
    this.#kept.push(run);
    if (this.#kept.length > this.#mostKept) this.#kept.shift()?.close();
  }

  close(): void {
    this.#isClosed = true;
    void this.#coming?.run.then((run) => run.interrupt());
    for (const run of this.#kept.splice(0)) run.close();
  }
}
