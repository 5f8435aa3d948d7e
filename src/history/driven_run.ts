// A run that goes on only when it is told to: of a scenario, or of what else has a machine execute.

import { Machine } from '../machine/machine.ts';
import type { RunReport } from '../scenario/report.ts';
import type { RunOptions } from '../scenario/run_options.ts';
import { ScenarioRun } from '../scenario/runner.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { Drive } from '../shell/guest.ts';
import type { Debuggee } from './debuggee.ts';
import { Driver } from './driver.ts';
import { DebugError } from './error.ts';
import { TextWrites } from './text_writes.ts';

export type DrivenOptions = Pick<RunOptions, 'seed' | 'kernel' | 'schedule' | 'observers'>;

/** What has a machine execute. */
interface Program {
  readonly machine: Machine;
  /** All of it. @returns of a scenario */
  run(): Promise<RunReport | undefined>;
}

/** Boots a machine for a program. It is the same each time. */
export type BootProgram = (drive: Drive) => Promise<Program>;

export const scenarioProgram =
  (scenario: Scenario, options: DrivenOptions = {}): BootProgram =>
  async (drive) => {
    const run = await ScenarioRun.boot(scenario, {
      ...options,
      drive: (_, condition, ns) => drive(condition, ns),
    });
    const { machine } = run;
    if (machine instanceof Machine) return { machine, run: () => run.run() };
    run.close();
    throw new DebugError('only a machine is debugged');
  };

export class DrivenRun implements Debuggee {
  readonly machine: Machine;
  readonly textWrites: TextWrites;
  report: RunReport | undefined;
  readonly #driver: Driver;
  #ended = false;
  #broken: unknown;

  /** Boots it, and stops before its first instruction. @throws DebugError, and what booting throws */
  static async boot(boot: BootProgram): Promise<DrivenRun> {
    let driven: DrivenRun | undefined;
    const program = await boot((condition, ns) => (driven as DrivenRun).#driver.drive(condition, ns));
    driven = new DrivenRun(program.machine);
    await driven.#start(program);
    return driven;
  }

  private constructor(machine: Machine) {
    this.machine = machine;
    this.textWrites = new TextWrites(machine);
    this.#driver = new Driver(machine, true);
  }

  #start(program: Program): Promise<void> {
    return new Promise((resolve, reject) => {
      void this.#driver.stopped().then(resolve);
      program.run().then(
        (report) => {
          this.report = report;
          this.#ended = true;
          this.#driver.halted();
        },
        (error) => {
          this.#broken = error;
          reject(error);
          this.#driver.halted();
        },
      );
    });
  }

  get over(): string | undefined {
    if (this.#broken !== undefined) return (this.#broken as Error).message;
    const { report } = this;
    if (!report) return this.#ended ? 'that is all that was executed' : undefined;
    if (report.failure) return report.failure.message;
    const met = report.expectations.filter(({ ok }) => ok).length;
    return `the scenario is over: ${met} of ${report.expectations.length} expectations met`;
  }

  async go(to: number): Promise<void> {
    const { executor } = this.machine.inspect;
    if (this.over !== undefined || executor.instructions >= to) return;
    const stopped = this.#driver.stopped();
    this.#driver.goOn(to);
    await stopped;
    executor.stopAt = Number.POSITIVE_INFINITY;
  }

  interrupt(): void {
    this.#driver.interrupt();
  }

  close(): void {
    this.machine.close();
  }
}
