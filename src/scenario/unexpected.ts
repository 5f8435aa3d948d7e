// What fails a run although no check looks for it: a task in replaced code that a transition passed over, an oops. A
// scenario that is about it has a check that says so.

import { holeText } from '../machine/truth/hole_text.ts';
import { type Failure, holeFits } from './checks.ts';
import type { Hole, Oops } from './recorder.ts';
import type { MachineFailure } from './report.ts';
import type { Check, Scenario } from './scenario.ts';
import { formatDuration } from './units.ts';
import { matches } from './values.ts';
import type { World } from './world.ts';

export function unexpectedHoles(
  scenario: Scenario,
  world: World,
): { readonly hole: Hole; readonly failure: Failure }[] {
  const wanted = allChecks(scenario).flatMap((check) => (check.kind === 'hole' ? [check] : []));
  return world.facts.holes
    .filter((hole) => !wanted.some((check) => holeFits(check, hole, world)))
    .map((hole) => {
      const { comm, pid, t, patch } = hole;
      const expected = `no task in code that '${patch}' replaces, or a check 'hole' that says so`;
      return {
        hole,
        failure: { expected, seen: `${comm}:${pid} ${holeText(hole)}, at ${formatDuration(t)}` },
      };
    });
}

export function unexpectedOops(scenario: Scenario, { facts, machine }: World): MachineFailure | undefined {
  const wanted = allChecks(scenario).flatMap((check) => (check.kind === 'oops' ? [check.text] : []));
  const oops = facts.oopses.find(({ text }) => !wanted.some((pattern) => matches(pattern, text)));
  return oops && { code: 'EOOPS', message: oopsText(oops, machine) };
}

function allChecks({ steps, expect }: Scenario): Check[] {
  return [...steps.flatMap((step) => ('checks' in step ? step.checks : [])), ...expect];
}

function oopsText({ comm, pid, text }: Oops, machine: World['machine']): string {
  const pc = machine.inspect.core.arch.showRegs.pcIn(text);
  return `kernel oops in ${comm}:${pid}${pc === undefined ? '' : ` at ${pc}`}: ${text.split('\n')[0]}`;
}
