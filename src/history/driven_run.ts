// A run of a scenario that goes on only when it is told to. What it does is what it does undisturbed: it stops between two
// instructions, in the midst of a slice if need be, and nothing that the scenario does moves.
//
// Invariant: what the scenario waits for is looked at between slices alone, as Machine.runUntil() does.

import { Machine } from '../machine/machine.ts';
import type { RunReport } from '../scenario/report.ts';
import { type RunOptions, ScenarioRun } from '../scenario/runner.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { Debuggee } from './debuggee.ts';
import { DebugError } from './error.ts';
import { TextWrites } from './text_writes.ts';

/** For how long, in ms of the host's clock, nothing else is heard. */
const HEARS_AFTER = 20;
/** Slices between two looks at that clock. */
const SLICES = 64;

export type DrivenOptions = Pick<RunOptions, 'seed' | 'kernel' | 'schedule' | 'observers'>;

export class DrivenRun implements Debuggee {
  readonly machine: Machine;
  readonly textWrites: TextWrites;
  report: RunReport | undefined;
  readonly #run: ScenarioRun;
  /** Has the machine go on. */
  #goOn: () => void = () => {};
  /** Somebody waits for it to stop. */
  #stopped: () => void = () => {};
  #isToStop = true;
  #broken: unknown;

  /** Boots it, and stops before the first instruction of the scenario. @throws DebugError, and what booting throws */
  static async boot(scenario: Scenario, options: DrivenOptions = {}): Promise<DrivenRun> {
    let driven: DrivenRun | undefined;
    const run = await ScenarioRun.boot(scenario, {
      ...options,
      drive: (_, condition, ns) => (driven as DrivenRun).#drive(condition, ns),
    });
    if (!(run.machine instanceof Machine)) throw new DebugError('only a machine is debugged');
    driven = new DrivenRun(run, run.machine);
    await driven.#start();
    return driven;
  }

  private constructor(run: ScenarioRun, machine: Machine) {
    this.#run = run;
    this.machine = machine;
    this.textWrites = new TextWrites(machine);
  }

  #start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stopped = resolve;
      this.#run.run().then(
        (report) => {
          this.report = report;
          this.#stopped();
        },
        (error) => {
          this.#broken = error;
          reject(error);
          this.#stopped();
        },
      );
    });
  }

  get over(): string | undefined {
    if (this.#broken !== undefined) return (this.#broken as Error).message;
    const { report } = this;
    if (!report) return undefined;
    if (report.failure) return report.failure.message;
    const met = report.expectations.filter(({ ok }) => ok).length;
    return `the scenario is over: ${met} of ${report.expectations.length} expectations met`;
  }

  async go(to: number): Promise<void> {
    const { executor } = this.machine.inspect;
    if (this.over !== undefined || executor.instructions >= to) return;
    executor.stopAt = to;
    this.#isToStop = false;
    const stopped = new Promise<void>((resolve) => {
      this.#stopped = resolve;
    });
    this.#goOn();
    await stopped;
    executor.stopAt = Number.POSITIVE_INFINITY;
  }

  interrupt(): void {
    this.#isToStop = true;
  }

  close(): void {
    this.#run.close();
  }

  /** Machine.runUntil(), with stops. */
  async #drive(condition: () => boolean, ns: number): Promise<boolean> {
    const { machine } = this;
    const { executor } = machine.inspect;
    const end = machine.now() + ns;
    let heard = performance.now();
    for (let slice = 1; ; slice++) {
      if (this.#isToStop || executor.instructions >= executor.stopAt) {
        await this.#pause();
        heard = performance.now();
      }
      if (!executor.rest) {
        if (condition()) return true;
        if (machine.now() >= end) return condition();
      }
      if (!machine.step(end)) return condition();
      if (slice % SLICES === 0 && performance.now() - heard > HEARS_AFTER) {
        await new Promise(setImmediate);
        heard = performance.now();
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#goOn = resolve;
      this.#stopped();
    });
  }
}
