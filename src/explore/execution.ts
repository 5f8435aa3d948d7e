// One run of a scenario under a plan: what it came to, what was done there, what was wrong with it, and the schedule that
// does it again.
//
// Invariant: the same scenario, points and plan are the same execution.

import { createHash } from 'node:crypto';
import { Machine } from '../machine/machine.ts';
import { type Action, parseSchedule, scheduleText } from '../machine/schedule.ts';
import type { ScenarioMachine } from '../scenario/ports.ts';
import type { RunReport } from '../scenario/report.ts';
import type { RunObserver } from '../scenario/run_options.ts';
import { ScenarioRun } from '../scenario/runner.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { traceLine } from '../scenario/trace.ts';
import { audit } from './audit.ts';
import type { Footprints } from './footprints.ts';
import { type Problem, problemsOf } from './judges.ts';
import { type Plan, QUIET } from './plan.ts';
import { Learner, type Points } from './points.ts';
import { observerOf, SteeredRun, type SteerOptions, type Visit } from './steered_run.ts';

export interface Execution {
  readonly plan: Plan;
  readonly visits: readonly Visit[];
  readonly problems: readonly Problem[];
  readonly schedule: string;
  /** Nothing else could run where something was held: the run is the one without its last decision, and was not run to its end. */
  readonly pointless: boolean;
  /** It came to what another run has come to, with as few decisions, and was not run further. */
  readonly isKnown: boolean;
  /** What it did between its points (footprints.ts). */
  readonly footprints: Pick<Footprints, 'near' | 'met'>;
  /** Points at which a CPU that stood still would do so in vain. */
  readonly alone: readonly number[];
  readonly instructions: number;
  readonly report: RunReport;
  /** Of its events, where it was asked for. */
  readonly hash?: string;
}

export interface ExecutionOptions extends SteerOptions {
  /** Changes the machine before it runs: tests put variants of parts in their place. */
  readonly prepare?: (machine: Machine) => void;
  readonly hash?: boolean;
  /** Points count from this step of the scenario on. */
  readonly fromStep?: number;
  /** Once the scenario is over, virtual ns without a transition behind which the run ends, nobody being held: the rest is no part of it. */
  readonly quietNs?: number;
  /** Of the scenario's run. */
  readonly observers?: readonly RunObserver[];
}

/** Runs a scenario once, undisturbed, and finds its points. */
export async function learnPoints(
  scenario: Scenario,
  { prepare, quietNs }: ExecutionOptions = {},
): Promise<{ readonly points: Points; readonly report: RunReport }> {
  let learner: Learner | undefined;
  const run = await ScenarioRun.boot(scenario, {
    schedule: QUIET,
    ...(quietNs === undefined ? {} : { isSettled: quietFor(quietNs) }),
    boot: async (settings) => {
      const machine = await Machine.boot(settings);
      prepare?.(machine);
      learner = new Learner(machine, observerOf(machine));
      return machine;
    },
  });
  try {
    const report = await run.run();
    return { points: (learner as Learner).points, report };
  } finally {
    run.close();
  }
}

export async function execute(
  scenario: Scenario,
  points: Points,
  plan: Plan,
  options: ExecutionOptions = {},
): Promise<Execution> {
  let steered: SteeredRun | undefined;
  // What is before is not looked at: it would cost as much as the rest.
  const steer = (machine: Machine): SteeredRun => {
    const restsUntil = (time: number): boolean => run.restsUntil(time);
    steered = new SteeredRun(machine, points, plan, { ...options, restsUntil });
    return steered;
  };
  let steps = 0;
  const hash = options.hash ? createHash('sha256') : undefined;
  const run = await ScenarioRun.boot(scenario, {
    schedule: plan.base,
    observers: [
      ...(options.observers ?? []),
      {
        stepStarted: () => {
          if (steps++ === options.fromStep) steer(run.machine as Machine);
        },
      },
    ],
    ...(options.quietNs === undefined ? {} : { isSettled: quietFor(options.quietNs) }),
    boot: async (settings) => {
      const machine = await Machine.boot(settings);
      options.prepare?.(machine);
      if (hash) machine.events.subscribe((event) => void hash.update(`${traceLine(event)}\n`));
      if (options.tell) machine.events.subscribe((event) => options.tell?.event(event));
      if (options.fromStep === undefined) steer(machine);
      return machine;
    },
  });
  try {
    const report = await run.run();
    const { visits, actions, machine, footprints, alone } = steered ?? steer(run.machine as Machine);
    const pointless = report.failure?.code === 'EPOINTLESS';
    const isKnown = report.failure?.code === 'EKNOWN';
    return {
      plan,
      visits,
      problems: pointless ? [] : problemsOf(scenario, soFar(report), isWhole(report) ? audited(machine) : []),
      schedule: scheduleOf(plan, actions),
      pointless,
      isKnown,
      footprints,
      alone,
      instructions: machine.inspect.executor.instructions,
      report,
      ...(hash ? { hash: hash.digest('hex') } : {}),
    };
  } finally {
    run.close();
  }
}

/** Whether nobody is held and no transition was under way for so long; who is never let go is the limit's business. */
function quietFor(ns: number): (machine: ScenarioMachine) => boolean {
  let quietSince: number | undefined;
  return (machine) => {
    const now = machine.now();
    const isBusy =
      machine.holds?.() === true || (machine as Machine).inspect.livepatch.transitionPatch !== undefined;
    quietSince = isBusy ? undefined : (quietSince ?? now);
    return quietSince !== undefined && now - quietSince >= ns;
  };
}

/** Of one that was not run to its end nothing is expected. */
const soFar = (report: RunReport): RunReport =>
  report.failure?.code === 'EKNOWN' ? { ...withoutFailure(report), expectations: [] } : report;

function withoutFailure({ failure: _, ...report }: RunReport): RunReport {
  return report;
}

/** A run that had no time left is one whose machine can be looked at. */
const isWhole = ({ failure }: RunReport): boolean => failure === undefined || failure.code === 'ELIMIT';

function audited(machine: Machine): string[] {
  // A run may end while a CPU stands still.
  machine.inspect.steering.stores.show();
  return audit(machine);
}

function scheduleOf({ base }: Plan, actions: readonly Action[]): string {
  const schedule = parseSchedule(base);
  const all = [...schedule.actions, ...actions].sort((a, b) => a.at - b.at);
  return scheduleText({ ...schedule, actions: all });
}
