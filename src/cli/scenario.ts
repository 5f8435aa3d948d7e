// What all commands do with a scenario file: read it, and run it up to a moment.

import type { FileAccess } from '../scenario/host_file.ts';
import type { RunReport } from '../scenario/report.ts';
import type { ScenarioRun } from '../scenario/runner.ts';
import type { Scenario } from '../scenario/scenario.ts';

export interface MomentOptions extends FileAccess {
  readonly at?: number;
  readonly seed?: number;
  readonly json?: boolean;
}

/** Scenario schema and machine at once: neither needs the other to be read. */
export async function open(file: string, access: FileAccess): Promise<Scenario> {
  const { loadScenario } = await import('../scenario/parse.ts');
  return loadScenario(file, access);
}

/** Runs a scenario to a moment (else to its end), and lets `look` look at the machine. */
export async function atMoment<T>(
  file: string,
  { at, seed, allowFiles = false }: MomentOptions,
  look: (run: ScenarioRun, report: RunReport) => Promise<T>,
): Promise<T> {
  const scenario = await open(file, { allowFiles });
  const { ScenarioRun } = await import('../scenario/runner.ts');
  const options = {
    ...(at === undefined ? {} : { stopAt: at }),
    ...(seed === undefined ? {} : { seed }),
  };
  const run = await ScenarioRun.boot(scenario, options);
  try {
    return await look(run, await run.run());
  } finally {
    run.close();
  }
}
