// Why what a scenario waits for has not come: a patch that there is not, one that nobody enabled, tasks that have yet to
// switch. What is said beside a failed check of a transition, with the way out.

import { nearest } from '../kernel/nearest.ts';
import type { ScenarioMachine } from './ports.ts';
import type { Check, Scenario } from './scenario.ts';
import type { World } from './world.ts';

/** Patches that tasks of the scenario can load, by its modules and the files that it lays down; undefined: no telling. */
export function loadable({ modules, files, machine }: Scenario): string[] | undefined {
  if (machine.model === 'bundle') return undefined;
  const paths = [...modules, ...files].map(({ guestPath }) => guestPath);
  return [...new Set(paths.filter((path) => path.endsWith('.ko')).map(patchOf))];
}

/** A patch has the name of its module. */
function patchOf(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return file.replace(/\.ko$/, '').replaceAll('-', '_');
}

/** Waiting for this is in vain: no patch of the name is there, was there, or is in any module that could be loaded. */
export function isInVain(check: Check, world: World): boolean {
  if (check.kind !== 'done') return false;
  const { patch } = check;
  return (
    world.modules?.includes(patch) === false && !wasEnabled(patch, world) && !isThere(patch, world.machine)
  );
}

/** Of a patch that had no such transition. */
export function noTransition(patch: string, world: World): string {
  const { machine, modules } = world;
  if (!modules || wasEnabled(patch, world)) return '';
  if (isThere(patch, machine)) return `'${patch}' is loaded, and has begun no transition`;
  if (modules.includes(patch))
    return `'${patch}' was never enabled: its module is not loaded, or its load failed`;
  const near = nearest(patch, modules);
  const known =
    modules.length > 0 ? `the scenario's modules are ${modules.join(', ')}` : 'the scenario has no modules';
  const hint = near === undefined ? known : `did you mean '${near}'?`;
  return `there is no patch '${patch}': a patch has the name of its module; ${hint}`;
}

function wasEnabled(patch: string, { facts }: World): boolean {
  return facts.transitions.some((one) => one.patch === patch);
}

function isThere(patch: string, machine: ScenarioMachine): boolean {
  try {
    machine.readText(`/sys/kernel/livepatch/${patch}/enabled`);
    return true;
  } catch {
    return false;
  }
}

/** Who keeps the transition under way from its end, as `why` tells it; undefined: there is none. */
export async function whyOpen({ facts, machine }: World): Promise<string | undefined> {
  if (!facts.current) return undefined;
  const explanation = machine.why();
  if (!explanation) return undefined;
  const { explanationText } = await import('../machine/why.ts');
  const text = explanationText(explanation).trimEnd();
  const all = 'all have switched: the next attempt, within a second of the last one, completes it';
  return explanation.blocked.length > 0 ? text : `${text}\n${all}`;
}
