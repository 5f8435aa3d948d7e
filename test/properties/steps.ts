// What random sequences are made of, drawn by fast-check: the machine, and the steps that are done to it.

import fc from 'fast-check';
import { FAULT_POINTS, type FaultPoint } from '../../src/kernel/fault_inject.ts';
import { BUNDLES, type BundleName, type Kind, type ModuleName } from './modules.ts';

/** What a user task is started for. `which` counts those that there are at that moment. */
export type Action =
  | { do: 'load'; module: ModuleName; args: string }
  | { do: 'bundle'; bundle: BundleName; replace: boolean }
  | { do: 'unload'; which: number }
  | { do: 'disable'; which: number }
  | { do: 'turn' | 'force' }
  | { do: 'write'; patch: ModuleName; file: 'enabled' | 'force'; text: string }
  | { do: 'block'; on: boolean }
  | { do: 'read'; path: string };

export type Step =
  | (Action & { wait: boolean; fault?: StepFault })
  | { do: 'spawn'; program: string; args: string[] }
  | { do: 'signal'; which: number; signal: number }
  | { do: 'pass'; ms: number };

interface StepFault {
  point: 'allocation' | FaultPoint;
  nth: number;
}

export interface Sequence {
  seed: number;
  cpus: number;
  instructionNs: number;
  kind?: Kind;
  /** Tasks that a pass of the transition looks at before others run: the kernel's 64, or fewer. */
  tasksPerRelax?: number;
  /** Tasks that sleep through it all. */
  crowd?: number;
  steps: Step[];
}

const fault: fc.Arbitrary<StepFault> = fc.oneof(
  fc.record({ point: fc.constant('allocation' as const), nth: fc.integer({ min: 1, max: 30 }) }),
  fc.record({
    point: fc.constantFrom(...FAULT_POINTS.filter((point) => !point.endsWith('alloc'))),
    nth: fc.integer({ min: 1, max: 3 }),
  }),
);

const weighted = <T>(...of: [number, fc.Arbitrary<T>][]): fc.Arbitrary<T> =>
  fc.oneof(...of.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** Data of states is handed on: those that have them replace each other. */
const STATES = ['version1=1', 'version1=2', 'version1=2 version2=1', ''].map(
  (versions) => `${versions} replace=1`,
);
const ARGS: Partial<Record<ModuleName, readonly string[]>> = {
  target: [
    'period_ms=20 hold_ms=10 work_ms=10 show_ms=10',
    'period_ms=50 hold_ms=200 show_ms=30',
    'period_ms=20 hold_ms=10 block=1',
    '',
  ],
  patch_both: ['', 'replace=1', 'pre_patch_ret=-19', 'replace=1'],
  patch_sizes: ['', 'replace=1'],
  state_a: STATES,
  state_b: STATES,
};

/** The target as often as two of the patches. */
const OFTEN: readonly ModuleName[] = [
  'target',
  'target',
  'patch_target',
  'patch_both',
  'patch_vmlinux',
  'patch_sympos',
];
const SELDOM: readonly ModuleName[] = ['patch_local', 'patch_shadow', 'patch_sizes', 'state_a', 'state_b'];
const MODULES: Readonly<Record<Kind, fc.Arbitrary<ModuleName>>> = {
  plain: weighted([3, fc.constantFrom(...OFTEN)], [2, fc.constantFrom(...SELDOM)]),
  packed: weighted([1, fc.constantFrom(...OFTEN)], [1, fc.constantFrom(...SELDOM)]),
  ibt: fc.constantFrom(...OFTEN),
  'frame pointer': fc.constantFrom(...OFTEN.filter((name) => name !== 'patch_sympos')),
  bundle: fc.constantFrom('core', 'core', 'mid', 'target', 'patch_target', 'state_a'),
};

const PATHS = ['/proc/klpdemo', '/proc/cmdline', '/proc/meminfo', '/proc/modules'];
const PROGRAMS: readonly [string, ...string[]][] = [
  ['reader', '/proc/klpdemo', '0'],
  ['reader', '/proc/klpdemo', '15'],
  ['reader', '/proc/cmdline', '1'],
  ['reader', '/proc/meminfo', '5'],
  ['forker', '20'],
  ['sleep', '100000'],
  ['spin'],
  ['syscalls'],
  ['yield'],
];

function action(kind: Kind): fc.Arbitrary<Action> {
  const module = MODULES[kind];
  const load: fc.Arbitrary<Action> = module.chain((name) =>
    fc.constantFrom(...(ARGS[name] ?? [''])).map((args) => ({ do: 'load', module: name, args })),
  );
  const bundle: fc.Arbitrary<Action> = fc
    .tuple(fc.constantFrom(...(Object.keys(BUNDLES) as BundleName[])), fc.boolean())
    .map(([name, replace]) => ({ do: 'bundle', bundle: name, replace }));
  const write = (file: 'enabled' | 'force', ...texts: string[]): fc.Arbitrary<Action> =>
    fc
      .tuple(module, fc.constantFrom(...texts))
      .map(([name, text]) => ({ do: 'write', patch: name, file, text }));
  return weighted<Action>(
    [kind === 'bundle' ? 5 : 8, load],
    ...(kind === 'bundle' ? [[4, bundle] as [number, fc.Arbitrary<Action>]] : []),
    [3, fc.nat(4).map((which) => ({ do: 'unload', which }))],
    [4, fc.nat(3).map((which) => ({ do: 'disable', which }))],
    [4, fc.constant({ do: 'turn' })],
    [1, fc.constant({ do: 'force' })],
    [1, write('enabled', '0', '1')],
    [1, write('force', '0', '1', 'x')],
    [2, fc.boolean().map((on) => ({ do: 'block', on }))],
    [2, fc.constantFrom(...PATHS).map((path) => ({ do: 'read', path }))],
  );
}

function step(kind: Kind): fc.Arbitrary<Step> {
  return weighted<Step>(
    [
      19,
      fc
        .tuple(
          action(kind),
          fc.boolean(),
          weighted<StepFault | undefined>([5, fc.constant(undefined)], [1, fault]),
        )
        .map(([one, wait, failing]) => (failing ? { ...one, wait, fault: failing } : { ...one, wait })),
    ],
    [3, fc.constantFrom(...PROGRAMS).map(([program, ...args]) => ({ do: 'spawn', program, args }))],
    [
      2,
      fc.tuple(fc.nat(5), fc.constantFrom(9, 15)).map(([which, signal]) => ({ do: 'signal', which, signal })),
    ],
    [4, fc.constantFrom(1, 4, 10, 40, 200, 1100, 3000).map((ms) => ({ do: 'pass', ms }))],
  );
}

/** What many begin with, so that what comes finds a patch in place: its module, and a patch whose transition is over. */
const BEGINNINGS: readonly (readonly [ModuleName, ...ModuleName[]])[] = [
  ['target', 'patch_target'],
  ['patch_target', 'target'],
  ['target', 'patch_both'],
];

const beginning = (kind: Kind): fc.Arbitrary<Step[]> => {
  const none = fc.constant<Step[]>([]);
  if (kind === 'bundle') return none;
  const patched = fc
    .tuple(fc.constantFrom(...BEGINNINGS), fc.constantFrom(...(ARGS.target ?? [''])))
    .map(([modules, args]): Step[] => [
      ...modules.map(
        (module): Step => ({ do: 'load', module, args: module === 'target' ? args : '', wait: true }),
      ),
      { do: 'pass', ms: 1100 },
    ]);
  return weighted([2, none], [1, patched]);
};

/**
 * A CPU of few instructions a tick does nothing but switch between so many that want to run; and a thread that is always
 * preempted where it is looked at is never reliable by its frames.
 */
const fastEnough = (one: Sequence): Sequence =>
  one.crowd || one.kind === 'frame pointer' ? { ...one, instructionNs: 4_000 } : one;

const sequenceOf = (kind: Kind): fc.Arbitrary<Sequence> =>
  fc
    .record({
      seed: fc.integer({ min: 1, max: 0x7fffffff }),
      cpus: fc.constantFrom(1, 2, 3),
      instructionNs: fc.constantFrom(20_000, 10_000, 4_000),
      kind: fc.constant(kind),
      tasksPerRelax: fc.constantFrom(64, 64, 2),
      crowd: weighted([31, fc.constant(0)], [1, fc.constant(70)]),
      before: beginning(kind),
      steps: fc.array(step(kind), { minLength: 1, maxLength: 14, size: 'max' }),
    })
    .map(({ before, steps, ...machine }) => ({ ...machine, steps: [...before, ...steps] }))
    .map(fastEnough);

export const sequence: fc.Arbitrary<Sequence> = weighted(
  [11, sequenceOf('plain')],
  [2, sequenceOf('ibt')],
  [2, sequenceOf('packed')],
  [2, sequenceOf('frame pointer')],
  [3, sequenceOf('bundle')],
);
