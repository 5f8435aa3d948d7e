// The settings with which a scenario's machine boots: its `machine:` section, in the machine's own words.

import type { MachineSettings } from './ports.ts';
import type { Scenario } from './scenario.ts';

export const DEFAULT_SEED = 1;

/** What the scenario leaves open is left to the machine. @param seed, kernel and schedule instead of the scenario's. */
export function machineSettings(
  { machine }: Pick<Scenario, 'machine'>,
  seed: number | undefined,
  kernel?: string,
  schedule?: string,
): MachineSettings {
  const { tasks, instruction, ...rest } = machine;
  const settings = {
    ...rest,
    maxTasks: tasks,
    instructionNs: instruction,
    seed: seed ?? machine.seed ?? DEFAULT_SEED,
    kernel: kernel ?? machine.kernel,
    schedule: schedule ?? machine.schedule,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}
