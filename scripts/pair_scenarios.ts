// The pairs of operations on livepatch that `npm run pairs` explores, each as a scenario: what has to be there before, and the two
// at the same time, while a third task reads what is patched.
//
// Invariant: each of the two can be done there: where both are about patches, these are two where they need another state of theirs.

import { join } from 'node:path';
import { parseScenario } from '../src/scenario/parse.ts';
import type { Scenario } from '../src/scenario/scenario.ts';
import { ROOT } from './root.ts';

/** What an operation takes of the patch that it is about. */
type State = 'absent' | 'enabled' | 'in transition';

interface Operation {
  readonly patch?: State;
  /** Has to be done before. */
  readonly before?: string;
  readonly step: (patch: string, nth: number) => string;
}

const load = (patch: string): string => `load: ${patch}`;
const replaceBy = (patch: string): string => `load: ${patch}\n    params: { replace: 1 }`;
const REPLACING = ['klpdemo_state_b', 'klpdemo_state_c'];
const TARGET = 'load: klpdemo_target\n    params: { hold_ms: 1, period_ms: 1000, work_ms: 1 }';

const OPERATIONS: Readonly<Record<string, Operation>> = {
  enable: { patch: 'absent', step: load },
  disable: { patch: 'enabled', step: (patch) => `disable: ${patch}` },
  reverse: { patch: 'in transition', step: (patch) => `disable: ${patch}` },
  replace: { patch: 'enabled', step: (_, nth) => replaceBy(REPLACING[nth]) },
  force: { patch: 'in transition', step: (patch) => `force: ${patch}` },
  load: { step: () => TARGET },
  unload: { before: TARGET, step: () => 'unload: klpdemo_target' },
  fork: { step: () => 'spawn: { name: forker, program: forker, args: [1, 2] }' },
  exit: { before: 'spawn: { name: sleeper, program: pause }', step: () => 'kill: sleeper\n    signal: 9' },
};

/**
 * Of the kernel's function that the reader reads by. Where a module comes or goes the first is one of that module, too; the bundle
 * model refuses such a patch.
 */
const PATCHES = ['klpdemo_patch_vmlinux', 'klpdemo_state_a'];
const PATCH_OF_MODULE = 'klpdemo_patch_pair';
const READ = { klpdemo_patch_vmlinux: '/proc/cmdline', klpdemo_patch_pair: '/proc/meminfo' };

const HOW: Readonly<Record<State, (patch: string) => readonly string[]>> = {
  absent: () => [],
  enabled: (patch) => [load(patch), `until: { done: { patch: ${patch} } }\n    within: 20s`],
  'in transition': (patch) => [load(patch)],
};
/** A transition is under way behind all else. */
const ORDER: readonly State[] = ['absent', 'enabled', 'in transition'];

export const MODELS = ['classic', 'bundle'] as const;

export const PAIRS = Object.keys(OPERATIONS).flatMap((a, i, names) =>
  names.slice(i).map((b) => [a, b] as const),
);

/** The reader reads once more in this time, virtual ns; so much is looked at when a pair is over. */
export const QUIET_NS = 950e6;

export interface Pair {
  readonly scenario: Scenario;
  /** The step from which points count, a little before the pair: what is before that has a pair of its own. */
  readonly fromStep: number;
}

export function pairScenario(a: string, b: string, model: (typeof MODELS)[number]): Pair {
  const isOfModule = model === 'classic' && /load/.test(`${a} ${b}`);
  const first = isOfModule ? PATCH_OF_MODULE : PATCHES[0];
  const pair = [OPERATIONS[a], OPERATIONS[b]].map((operation, nth) => ({ operation, nth }));
  const about = pair.filter(({ operation }) => operation.patch);
  // Two take one patch that is there, as it is; two that enable have one each.
  const isOne = new Set(about.map(({ operation }) => operation.patch)).size === 1 && a !== 'enable';
  const patchOf = (one: (typeof pair)[number]): string =>
    isOne || about.indexOf(one) < 1 ? first : PATCHES[1];
  const before = [
    ...pair.flatMap(({ operation }) => operation.before ?? []),
    ...ORDER.flatMap((state) =>
      about.filter(({ operation }) => operation.patch === state).flatMap((one) => HOW[state](patchOf(one))),
    ),
  ];
  const steps = [...new Set(before)];
  const background = (step: string): string =>
    /^(spawn|kill)/.test(step) ? `  - ${step}` : `  - ${step}\n    background: true`;
  const modules = ['klpdemo_target', first, 'klpdemo_state_a', 'klpdemo_state_b', 'klpdemo_state_c'];
  const text = `name: ${a} and ${b} at the same time, ${model}
machine: { cpus: 2, schedule: q, model: ${model}, heap: 16MiB, tasks: 64 }
limit: 30s
modules:
${modules.map((name) => `  - ../modules/${name}.ko`).join('\n')}
tasks:
  - { name: reader, program: reader, args: [${READ[first as keyof typeof READ]}, 900] }
steps:
${[...steps, 'wait: 200ms'].map((step) => `  - ${step}`).join('\n')}
${pair.map((one) => background(one.operation.step(patchOf(one), one.nth))).join('\n')}
`;
  const scenario = parseScenario(text, join(ROOT, 'fixtures/scenarios/pair.yaml'));
  const machine = { ...scenario.machine, engine: 'core' as const };
  return { scenario: { ...scenario, machine }, fromStep: steps.length };
}
