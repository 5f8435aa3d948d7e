// What came of a run, as data: what `klpemu run --json` prints and what the text report is made from.

import type { Place } from './error.ts';
import type { Gap, Hole, Oops, SiteRewrite, TransitionFacts } from './recorder.ts';
import type { ActionRun } from './world.ts';

/** One expectation of the scenario that was looked at. */
export interface Expectation {
  readonly ok: boolean;
  readonly place: Place;
  /** In the document: `expect.dmesg[2]`. */
  readonly path: string;
  /** Virtual ns at which it was looked at. */
  readonly t: number;
  readonly expected?: string;
  readonly seen?: string;
}

export interface ActionReport {
  readonly command: string;
  readonly startedAt: number;
  readonly endedAt?: number;
  /** undefined: it had not ended when the run did. */
  readonly exit?: number;
  readonly stdout: string;
}

/** Counters that a module keeps of its own doings, as the last read of it had them. */
export interface Counters {
  readonly t: number;
  readonly mixed: number;
  /** Name and value for each version. */
  readonly rows: readonly { readonly name: string; readonly values: readonly number[] }[];
}

export interface MachineFailure {
  readonly code: string;
  readonly message: string;
}

export interface RunReport {
  readonly scenario: string;
  readonly file: string;
  readonly ok: boolean;
  readonly machine: {
    readonly cpus: number;
    readonly seed: number;
    readonly unwinder: string;
  };
  /** Virtual ns since boot at the end. */
  readonly endedAt: number;
  readonly sites: readonly SiteRewrite[];
  readonly text: { readonly pokes: number; readonly int3: number };
  readonly transitions: readonly TransitionFacts[];
  readonly actions: readonly ActionReport[];
  readonly counters?: Counters;
  /** Checks against the ground truth that were made, all of which held. */
  readonly checks: readonly { readonly name: string; readonly count: number }[];
  readonly oopses: readonly Oops[];
  /** Calls in which the kernel itself lets old and new mix. */
  readonly gaps: readonly Gap[];
  /** Tasks in replaced code that a transition did not see. */
  readonly holes: readonly Hole[];
  readonly expectations: readonly Expectation[];
  readonly dmesg: readonly string[];
  /** The guest or the machine could not go on, or the kernel had an oops that nobody expected. */
  readonly failure?: MachineFailure;
}

export function actionReport({ step, task, startedAt, endedAt }: ActionRun): ActionReport {
  return {
    command: step.command,
    startedAt,
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(task.exit === undefined ? {} : { exit: task.exit }),
    stdout: task.stdout,
  };
}

/** The last output with a line `mixed N`, and its other lines of a name and numbers. */
export function lastCounters(actions: readonly ActionReport[]): Counters | undefined {
  for (const action of actions.toReversed()) {
    const rows = [...action.stdout.matchAll(/^(\w+)((?: \d+)+)$/gm)].map(([, name, values]) => ({
      name,
      values: values.trim().split(' ').map(Number),
    }));
    const mixed = rows.find((row) => row.name === 'mixed');
    if (!mixed) continue;
    const counted = rows.filter((row) => row.values.length > 2);
    return { t: action.endedAt ?? action.startedAt, mixed: mixed.values[0], rows: counted };
  }
  return undefined;
}
