// A run of a plan and what livepatch did in it, for tests that hold runs against each other.

import { type Execution, type ExecutionOptions, execute } from '../../src/explore/execution.ts';
import { type Decision, QUIET } from '../../src/explore/plan.ts';
import type { Points } from '../../src/explore/points.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';

/** What livepatch does. */
const LIVEPATCHS = ['transition', 'patch_state', 'klp_module', 'gate', 'ftrace', 'gap', 'hole'];

/** But when it does it. */
const withoutTime = ({ t: _, ...event }: KernelEvent): string =>
  JSON.stringify(event, (key, value: unknown) =>
    key.endsWith('Ns') ? undefined : typeof value === 'bigint' ? `${value}` : value,
  );

/** A run of a plan, and what livepatch did in it. */
export async function run(
  scenario: Scenario,
  points: Points,
  decisions: readonly Decision[],
  options: ExecutionOptions = {},
): Promise<[string[], Execution]> {
  const events: string[] = [];
  const tell = {
    event: (event: KernelEvent): void => {
      if (LIVEPATCHS.includes(event.type)) events.push(withoutTime(event));
    },
    visit() {},
    action() {},
  };
  const execution = await execute(scenario, points, { base: QUIET, decisions }, { ...options, tell });
  return [events, execution];
}
