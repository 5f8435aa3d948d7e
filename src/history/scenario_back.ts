// Going back in a scenario's run.

import type { Scenario } from '../scenario/scenario.ts';
import { type BackAnswer, goBack } from './back.ts';
import { Checkpoints } from './checkpoints.ts';
import { type DrivenOptions, scenarioProgram } from './driven_run.ts';

/**
 * The last moment of a scenario's run before another at which something was so: `klpemu back` (docs/gdb.md).
 * @param to `write ADDRESS[/BYTES]`, `change TASK.FIELD`, `change FUNCTION->transition`, `call FUNCTION` or `dmesg TEXT`
 * @param from a time (`1.2s`), `instruction N`, or a text of the log
 * @throws DebugError when one of them means nothing, or that moment never comes
 */
export async function back(
  scenario: Scenario,
  to: string,
  from: string,
  options: DrivenOptions = {},
): Promise<BackAnswer> {
  const checkpoints = new Checkpoints(scenarioProgram(scenario, options));
  try {
    return await goBack(checkpoints, to, from);
  } finally {
    checkpoints.close();
  }
}
