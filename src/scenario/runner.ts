// Runs a scenario: boots its machine, starts its tasks, does its steps at their times, looks at what it
// expects, and tells an observer of everything in order.
//
// Invariant: how a run goes depends on the scenario and the seed only, not on who observes it.

import { readFileSync } from 'node:fs';
import { unpack } from '../elf/unpack.ts';
import type { Fault } from '../kernel/fault_inject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { startAction } from './actions.ts';
import { evaluate } from './checks.ts';
import { ScenarioError } from './error.ts';
import { faultAttr } from './faults.ts';
import { Judge } from './judge.ts';
import { DEFAULT_SEED, machineSettings } from './machine_settings.ts';
import { bootMachine, type MachineSettings, posing, type ScenarioMachine, type StartPosed } from './ports.ts';
import { Recorder } from './recorder.ts';
import {
  actionReport,
  type Expectation,
  lastCounters,
  type MachineFailure,
  type RunReport,
} from './report.ts';
import type { Drive, RunObserver, RunOptions } from './run_options.ts';
import type { ActionStep, CheckBase, FaultSpec, PoseSpec, Scenario, Step, TaskSpec } from './scenario.ts';
import { trampolineHandler } from './text.ts';
import { unexpectedHoles, unexpectedOops } from './unexpected.ts';
import { isInVain, loadable, whyOpen } from './unfinished.ts';
import { formatDuration } from './units.ts';
import { type ActionRun, World } from './world.ts';

/** Virtual time between two moments at which observers are served. */
const SLICE = 5e6;
/** How often the checks of `until` are looked at. */
const POLL = 1e6;

/** Ends the run early, without a failure. */
class StopRun extends Error {
  override readonly name = 'StopRun';
  readonly code = 'ESTOP';
}

class LimitError extends Error {
  override readonly name = 'LimitError';
  readonly code = 'ELIMIT';
}

/** Runs a scenario from boot to its end. The machine is closed when it returns. */
export async function runScenario(scenario: Scenario, options: RunOptions = {}): Promise<RunReport> {
  const run = await ScenarioRun.boot(scenario, options);
  try {
    return await run.run();
  } finally {
    run.close();
  }
}

export class ScenarioRun {
  readonly scenario: Scenario;
  readonly machine: ScenarioMachine;
  readonly world: World;
  readonly #judge: Judge;
  readonly #observers: readonly RunObserver[];
  readonly #settings: MachineSettings;
  readonly #stopAt: number;
  readonly #drive: Drive | undefined;
  readonly #isSettled: () => boolean;
  /** Tasks not started yet, by time. */
  #waiting: TaskSpec[];
  /** Where the scenario has posed tasks. */
  #startPosed: StartPosed | undefined;
  /** Whether what is waited for now is still to come, where nothing but the machine can bring it about. */
  #isToCome: (() => boolean) | undefined;
  /** Steps that have begun, and when. */
  readonly #begun: { readonly step: Step; readonly t: number }[] = [];

  static async boot(scenario: Scenario, options: RunOptions = {}): Promise<ScenarioRun> {
    const settings = machineSettings(scenario, options.seed, options.kernel, options.schedule);
    const machine = await (options.boot ?? bootMachine)(settings);
    const run = new ScenarioRun(scenario, machine, settings, options);
    if (isPosed(scenario)) run.#startPosed = await posing(machine);
    return run;
  }

  private constructor(
    scenario: Scenario,
    machine: ScenarioMachine,
    settings: MachineSettings,
    options: RunOptions,
  ) {
    this.scenario = scenario;
    this.machine = machine;
    this.#settings = settings;
    this.#observers = options.observers ?? [];
    this.#stopAt = options.stopAt ?? Number.POSITIVE_INFINITY;
    this.#drive = options.drive;
    this.#isSettled = () =>
      options.isSettled?.(machine) ?? (machine.holds?.() !== true || machine.now() >= scenario.limit);
    this.#waiting = scenario.tasks.toSorted((a, b) => a.start - b.start);
    const { tasks } = machine.inspect.core;
    const facts = new Recorder({
      countTasks: () => tasks.size + tasks.idle.length,
      handlerOf: (trampoline) => trampolineHandler(machine, trampoline),
    });
    this.world = new World(machine, facts, loadable(scenario));
    this.#judge = new Judge(this.world, (result) => {
      for (const observer of this.#observers) observer.expectation?.(result);
    });
    const { events } = machine.inspect.core;
    events.subscribe((event) => {
      const ended = this.world.record(event);
      if (ended) for (const observer of this.#observers) observer.actionEnded?.(ended);
    }, Recorder.eventTypes);
    for (const observer of this.#observers) {
      if (observer.event) events.subscribe((event) => observer.event?.(event), observer.eventTypes);
      observer.booted?.(this.world);
    }
  }

  /** Whether nothing but what the machine does by itself happens up to a time, virtual ns. */
  restsUntil(time: number): boolean {
    const isLeft = this.#waiting.length === 0 && time < Math.min(this.#stopAt, this.scenario.limit);
    return isLeft && this.#isToCome?.() === true;
  }

  get expectations(): readonly Expectation[] {
    return this.#judge.expectations;
  }

  close(): void {
    this.machine.close();
  }

  async #flush(): Promise<void> {
    for (const observer of this.#observers) await observer.flush?.();
  }

  /** @throws Error of the machine when that is not about the guest. */
  async run(): Promise<RunReport> {
    let failure: MachineFailure | undefined;
    try {
      this.#addFiles();
      await this.#advance(0);
      const faults = this.#arm(this.scenario.faults);
      await this.#steps();
      this.#judge.faultsCame(this.scenario.faults, faults);
      for (const check of this.scenario.expect) await this.#judge.check(check);
      const unmet = this.machine.unmetSchedule?.() ?? [];
      if (unmet.length > 0)
        this.#judge.expected(this.#stepAt(0), {
          expected: 'a run that the schedule fits',
          seen: unmet.join('\n'),
        });
      for (const { hole, failure } of unexpectedHoles(this.scenario, this.world))
        this.#judge.expected(this.#stepAt(hole.t), failure);
    } catch (error) {
      // The scenario cannot be used, though that shows only now.
      if (error instanceof ScenarioError) throw error;
      if (error instanceof LimitError) await this.#tellLimit();
      if (!(error instanceof StopRun)) failure = failureOf(error);
    }
    await this.#flush();
    for (const observer of this.#observers) observer.ended?.();
    return this.#report(failure ?? unexpectedOops(this.scenario, this.world));
  }

  #addFiles(): void {
    for (const { path, guestPath } of this.scenario.modules) {
      this.machine.addFile(guestPath, unpack(new Uint8Array(readFileSync(path)), path));
    }
    for (const { guestPath, text, from } of this.scenario.files) {
      const bytes = text === undefined ? readFileSync(from as string) : Buffer.from(text);
      this.machine.addFile(guestPath, new Uint8Array(bytes));
    }
  }

  async #steps(): Promise<void> {
    let previous: ActionRun | undefined;
    for (const step of this.scenario.steps) {
      if (step.at !== undefined) await this.#at(step, step.at);
      else if (previous) await this.#finish(previous);
      if (step.after !== undefined) await this.#advance(this.machine.now() + step.after);
      previous = await this.#step(step);
    }
    for (const action of this.world.actions) await this.#finish(action);
    // Who stands still is waited for.
    this.#isToCome = () => true;
    await this.#advance(
      Math.min(this.#stopAt, Number.MAX_SAFE_INTEGER),
      () => this.#stopAt === Number.POSITIVE_INFINITY && this.#isSettled(),
    );
  }

  async #at(step: Step, at: number): Promise<void> {
    const now = this.machine.now();
    // Time passes in whole instructions, and one CPU may be ahead of another.
    if (now > at + SLICE) {
      const seen = `the steps above it took until ${formatDuration(now)}`;
      this.#judge.expected(step, { expected: `step begins at ${formatDuration(at)}`, seen });
    }
    await this.#advance(at);
  }

  /** Runs up to a time, or until the condition holds. @returns whether it held. */
  async #advance(until: number, stop: () => boolean = () => false): Promise<boolean> {
    const { machine, scenario } = this;
    for (;;) {
      this.#startTasks();
      await this.#flush();
      if (stop()) return true;
      const now = machine.now();
      if (now >= this.#stopAt) throw new StopRun();
      if (now >= until) return false;
      if (now >= scenario.limit) throw new LimitError(this.#limitText());
      const next = this.#waiting[0]?.start ?? Number.POSITIVE_INFINITY;
      const end = Math.min(until, this.#stopAt, scenario.limit, next, now + SLICE);
      if (this.#drive) await this.#drive(machine, stop, end - now);
      else machine.runUntil(stop, end - now);
      for (const action of this.world.actions) if (action.endedAt !== undefined) this.#judge.action(action);
    }
  }

  /** What was under way at a time, for its place. */
  #stepAt(t: number): CheckBase {
    const { file } = this.scenario;
    const begun = this.#begun.findLast((one) => one.t <= t);
    return begun?.step ?? { place: { file, line: 1, column: 1 }, path: 'steps' };
  }

  /** The place of what the run came to a stop at. */
  async #tellLimit(): Promise<void> {
    const { scenario, world } = this;
    const waits = world.actions.filter((action) => action.task.alive).map((action) => action.step.command);
    const way = "'limit' at the top of the file gives more time, 'background' goes on without waiting";
    const seen = [waits.length > 0 ? `not done: ${waits.join(', ')}; ${way}` : way, await whyOpen(world)];
    const expected = `the step is over by ${formatDuration(scenario.limit)}, the limit of the scenario`;
    this.#judge.expected(this.#stepAt(this.machine.now()), {
      expected,
      seen: seen.filter(Boolean).join('\n'),
    });
  }

  #limitText(): string {
    const waits = this.world.actions
      .filter((action) => action.task.alive)
      .map((action) => action.step.command);
    const who = waits.length > 0 ? `; not done: ${waits.join(', ')}` : '';
    return `the scenario's limit of ${formatDuration(this.scenario.limit)} is reached${who}`;
  }

  #startTasks(): void {
    const now = this.machine.now();
    while (this.#waiting.length > 0 && this.#waiting[0].start <= now) {
      this.#spawn(this.#waiting[0]);
      this.#waiting = this.#waiting.slice(1);
    }
  }

  #spawn(spec: TaskSpec): void {
    const { name, program, args, comm, count, pose } = spec;
    for (let i = 0; i < count; i++)
      this.world.know(pose ? this.#pose(spec) : this.machine.spawn(program, [...args], { comm }), name);
  }

  /** @throws ScenarioError where no task can stand there */
  #pose({ pose, comm, place }: TaskSpec): TaskStruct {
    try {
      return (this.#startPosed as StartPosed)(pose as PoseSpec, comm);
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EPOSE') throw error;
      throw new ScenarioError([{ place, path: 'pose', reason: (error as Error).message }]);
    }
  }

  /** @returns the action that the step started, if it did. */
  async #step(step: Step): Promise<ActionRun | undefined> {
    this.#begun.push({ step, t: this.machine.now() });
    for (const observer of this.#observers) observer.stepStarted?.(step, this.machine.now());
    switch (step.verb) {
      case 'spawn':
        this.#spawn(step.task);
        return undefined;
      case 'kill':
        return void this.#kill(step);
      case 'wait':
        await this.#advance(this.machine.now() + step.duration);
        return undefined;
      case 'until':
        await this.#until(step);
        return undefined;
      case 'snapshot':
        await this.#flush();
        for (const observer of this.#observers) await observer.snapshot?.(step, this.world);
        return undefined;
      case 'check':
        for (const check of step.checks) await this.#judge.check(check);
        return undefined;
      default: {
        const action = this.#start(step);
        return step.background ? undefined : action;
      }
    }
  }

  #start(step: ActionStep): ActionRun {
    const { machine, world } = this;
    const dmesgFrom = world.log().length;
    const startedAt = machine.now();
    let doer: TaskStruct | undefined;
    const faults = this.#arm(step.faults, (task) => task === doer);
    doer = startAction(this.machine, step);
    const action = { step, task: world.know(doer), startedAt, dmesgFrom, faults };
    world.actions.push(action);
    return action;
  }

  #arm(specs: readonly FaultSpec[], by?: (task: TaskStruct) => boolean): Fault[] {
    const { faults } = this.machine.inspect.core;
    if (!faults) return [];
    return specs.map((spec) => {
      const named = (task: TaskStruct): boolean =>
        this.world.tasks(spec.by ?? '').some((t) => t.task === task);
      return faults.arm(faultAttr(spec, by ?? (spec.by === undefined ? undefined : named)));
    });
  }

  #kill(step: Extract<Step, { verb: 'kill' }>): void {
    const tasks = this.world.tasks(step.task).filter((task) => task.alive);
    if (tasks.length === 0) {
      const seen = `no such task; there are ${this.world.taskList()}`;
      this.#judge.expected(step, { expected: `a task ${step.task} to kill`, seen });
    }
    for (const { pid } of tasks) this.machine.spawn('kill', [String(pid), String(step.signal)]);
  }

  /** Runs until an action has exited. */
  async #finish(action: ActionRun): Promise<void> {
    this.#isToCome = () => action.task.alive;
    await this.#advance(Number.POSITIVE_INFINITY, () => !action.task.alive);
    this.#isToCome = undefined;
    this.#judge.action(action);
  }

  async #until(step: Extract<Step, { verb: 'until' }>): Promise<void> {
    const { limit } = this.scenario;
    const end = this.machine.now() + step.within;
    for (;;) {
      const failures = await Promise.all(step.checks.map((check) => evaluate(check, this.world)));
      const failed = failures.findIndex((failure) => failure !== undefined);
      const check = step.checks[Math.max(failed, 0)];
      const failure = failures[failed];
      if (!failure) return this.#judge.expected(check ?? step);
      const now = this.machine.now();
      const inVain = isInVain(check, this.world);
      if (now >= end || now >= limit || inVain) {
        const late =
          now < end && !inVain
            ? `: the scenario's limit of ${formatDuration(limit)} came first ('limit' at the top of the file gives more)`
            : '';
        const expected = `${failure.expected} within ${formatDuration(step.within)}${late}`;
        this.#judge.expected(check, { ...(await this.#judge.explained(check, failure)), expected });
        if (late) throw new StopRun();
        return;
      }
      await this.#advance(Math.min(end, limit, now + POLL));
    }
  }

  #report(failure: MachineFailure | undefined): RunReport {
    const { machine, scenario, world } = this;
    const { facts } = world;
    const actions = world.actions.map(actionReport);
    const counters = lastCounters(actions);
    const { cpus = machine.inspect.core.cpus, seed = DEFAULT_SEED, unwinder = 'orc' } = this.#settings;
    return {
      scenario: scenario.name,
      file: scenario.file,
      ok: failure === undefined && this.expectations.every((one) => one.ok),
      machine: { cpus, seed, unwinder },
      endedAt: machine.now(),
      sites: facts.sites,
      text: facts.text,
      transitions: facts.transitions,
      actions,
      ...(counters ? { counters } : {}),
      checks: machine.checks(),
      oopses: facts.oopses,
      gaps: facts.gaps,
      holes: facts.holes,
      expectations: this.expectations,
      dmesg: world.log(),
      ...(failure ? { failure } : {}),
    };
  }
}

function failureOf(error: unknown): MachineFailure {
  if (!(error instanceof Error)) throw error;
  const code = (error as { code?: unknown }).code;
  // Without a code it is a mistake in klpemu itself: its stack is what helps.
  if (typeof code !== 'string') throw error;
  return { code, message: error.message };
}

const isPosed = ({ tasks, steps }: Scenario): boolean =>
  tasks.some(({ pose }) => pose) || steps.some((step) => step.verb === 'spawn' && step.task.pose);
