// What makes a scenario a comparison, and what a comparison does not take: each is refused where it stands.

import type { ComparedStep, PatchStep, SettleStep, Step } from './scenario.ts';
import type { RawScenario, RawStep, VerbName } from './schema.ts';
import type { Path } from './source.ts';

export interface Refusal {
  readonly path: Path;
  readonly reason: string;
}

/** A comparison expects nothing: what a step comes to is counted, under each model. */
const NOT_COMPARED = {
  top: ['tasks', 'faults', 'expect'],
  verbs: ['enable', 'disable', 'force', 'until', 'snapshot', 'check'],
  step: ['at', 'after', 'exit', 'output'],
} as const satisfies {
  top: readonly (keyof RawScenario)[];
  verbs: readonly VerbName[];
  step: readonly (keyof RawStep)[];
};

/** Verbs of a comparison alone. */
export const ONLY_COMPARED: readonly VerbName[] = ['patch', 'settle'];

const refused = (path: Path): Refusal => ({
  path,
  reason: `'${path.at(-1)}' does not go with 'models': klpemu compare counts what each model does`,
});

/** Of a scenario with `models`. */
export function notCompared(raw: RawScenario): Refusal[] {
  const { machine = {}, steps = [] } = raw;
  return [
    ...(machine.model === undefined ? [] : [refused(['machine', 'model'])]),
    ...NOT_COMPARED.top.filter((key) => raw[key] !== undefined).map((key) => refused([key])),
    ...steps.flatMap((step, i) => [
      ...[...NOT_COMPARED.verbs, ...NOT_COMPARED.step]
        .filter((key) => step[key] !== undefined)
        .map((key) => refused(['steps', i, key])),
      ...(step.background && step.faults !== undefined
        ? [{ path: ['steps', i, 'faults'], reason: 'a step in the background can have no faults here' }]
        : []),
    ]),
  ];
}

/** Of one without. */
export function onlyCompared({ steps = [] }: RawScenario): Refusal[] {
  const reason = (what: string): string => `${what} is for a scenario with 'models' (klpemu compare)`;
  return steps.flatMap((step, i) => [
    ...ONLY_COMPARED.filter((verb) => step[verb] !== undefined).map((verb) => ({
      path: ['steps', i, verb],
      reason: reason(`'${verb}'`),
    })),
    ...(step.faults === 'every' ? [{ path: ['steps', i, 'faults'], reason: reason("'every'") }] : []),
  ]);
}

type BuiltStep = Step | PatchStep | SettleStep;

/** What is left when nothing has been refused. */
export const isRun = (step: BuiltStep): step is Step => step.verb !== 'patch' && step.verb !== 'settle';
export const isCompared = (step: BuiltStep): step is ComparedStep =>
  step.verb !== 'until' && step.verb !== 'snapshot' && step.verb !== 'check';
