// What a debugger does with a machine: has it go on, step, and stop; forwards and, where its history can be executed again,
// backwards.
//
// Invariant: a machine whose memory or registers the debugger has written has another history, and no way back.

import { type BackAnswer, goBack, type Past } from '../history/back.ts';
import { type Debuggee, positionOf } from '../history/debuggee.ts';
import { DebugError } from '../history/error.ts';
import { runToLine, runToTime } from '../history/moments.ts';
import { Lookout, type Met, Points, type WatchPoint } from '../history/points.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';
import type { RunReport } from '../scenario/report.ts';
import { lastMet, lastStep, lastTextWrite } from './last_met.ts';
import type { Reason, Stop } from './stop.ts';
import { libraries } from './symbol_files.ts';
import { allTasks, lastTask, taskOf, threadOf } from './threads.ts';

/** By the instructions executed before it, by virtual time in ns, or by the first line of the log that has a text. */
export type Moment = { readonly position: number } | { readonly time: number } | { readonly line: string };

/** What is there of a machine's history. */
interface History extends Past {
  /** Somebody may want to go back from there, step by step. */
  prepare(position: number): void;
}

export class Session {
  readonly points = new Points();
  readonly #history: History | undefined;
  #run: Debuggee;
  #lookout: Lookout;
  /** What stopped the machine. */
  #met: Met | undefined;
  /** A step waits for a task to come to its next instruction. */
  #awaited: { readonly task: TaskStruct; readonly addr: bigint } | undefined;
  #isInterrupted = false;
  /** Modules and trampolines that the debugger knows of. */
  #told = '';
  #watchesLibraries = false;
  /** Where it was written to by the debugger. */
  changedAt: number | undefined;
  /** Of a machine that others have execute, that machine: the others are its past. */
  readonly #present: Debuggee | undefined;
  /** What is looked for. */
  #wanted: readonly [breakpoints: Iterable<bigint>, watchpoints: readonly WatchPoint[]] = [[], []];
  #unsubscribe: () => void = () => {};
  /** A stop that is told of when the debugger has heard of the modules there. */
  #held: Stop | undefined;

  /** @param history undefined: there is no way back */
  constructor(run: Debuggee, history?: History) {
    this.#history = history;
    this.#run = run;
    this.#present = run.letGo ? run : undefined;
    this.#lookout = this.#lookAt(run);
  }

  #lookAt(run: Debuggee): Lookout {
    const lookout = new Lookout(run.machine);
    lookout.onMet = (met) => this.#onMet(met);
    const { executor } = run.machine.inspect;
    this.#unsubscribe();
    this.#unsubscribe = run.machine.events.subscribe(() => {
      if (this.#run === run && this.#watchesLibraries && this.#isNews())
        executor.stopAt = executor.instructions;
    }, ['module', 'ftrace']);
    return lookout;
  }

  get machine(): Machine {
    return this.#run.machine;
  }
  get position(): number {
    return positionOf(this.#run);
  }
  get over(): string | undefined {
    return this.#run.over;
  }
  get goesBack(): boolean {
    return this.#history !== undefined;
  }

  /** The thread that was executed last. */
  get thread(): number {
    return threadOf(this.machine, lastTask(this.machine));
  }
  task(thread: number): TaskStruct | undefined {
    return taskOf(this.machine, thread);
  }
  tasks(): TaskStruct[] {
    return allTasks(this.machine);
  }

  /** The debugger has asked which modules there are. */
  toldLibraries(): void {
    this.#watchesLibraries = true;
    this.#told = this.#libraries();
  }
  #libraries(): string {
    return libraries(this.machine)
      .map(({ file }) => file)
      .join('\n');
  }
  #isNews(): boolean {
    return this.#libraries() !== this.#told;
  }

  interrupt(): void {
    this.#isInterrupted = true;
    this.#run.interrupt();
  }

  /** It is the past of a machine that is there: what has been is not changed. */
  get isPast(): boolean {
    return this.#present !== undefined && this.#run !== this.#present;
  }

  /** The debugger has changed something. @returns whether that is news */
  changed(): boolean {
    const isFirst = this.changedAt === undefined;
    this.changedAt ??= this.position;
    this.#run.changed?.();
    return isFirst;
  }

  #onMet(met: Met): boolean {
    const { point } = met;
    if ('breakpoint' in point && !this.points.breakpoints.has(point.breakpoint)) {
      const task = this.machine.inspect.core.current(met.cpu.id);
      if (this.#awaited?.task !== task || this.#awaited.addr !== point.breakpoint) return false;
    }
    this.#met = met;
    return true;
  }

  /** Goes on until something is met. */
  async continue(): Promise<Stop> {
    const held = this.#takeHeld();
    if (held) return held;
    this.#lookFor(this.points.breakpoints.keys(), this.points.watchpoints);
    await this.#go('let go');
    return this.#stopped({ kind: 'interrupt' });
  }

  /** A task executes one instruction, when its turn comes. */
  async step(thread: number): Promise<Stop> {
    const held = this.#takeHeld();
    if (held) return held;
    const task = this.task(thread);
    if (!task) return this.continue();
    if (!this.#isNext(task)) {
      const other = await this.#comesTo(task);
      if (other) return other;
    }
    this.#lookFor([], this.points.watchpoints);
    await this.#go(this.position + 1);
    return this.#stopped({ kind: 'step' }, thread);
  }

  /** Steps while the task is in [from, to), or until something is met. */
  async stepRange(thread: number, from: bigint, to: bigint): Promise<Stop> {
    for (;;) {
      const stop = await this.step(thread);
      const task = this.task(thread);
      const pc = task && this.#pc(task);
      if (stop.reason.kind !== 'step' || pc === undefined) return stop;
      if (this.points.breakpoints.has(pc)) return { thread, reason: { kind: 'breakpoint', addr: pc } };
      if (pc < from || pc >= to) return stop;
      if (this.#isInterrupted) return this.#stopped({ kind: 'interrupt' }, thread);
    }
  }

  /** It is in the midst of a slice, and the task's own CPU goes on. */
  #isNext(task: TaskStruct): boolean {
    const { executor } = this.machine.inspect;
    return executor.rest !== undefined && lastTask(this.machine) === task;
  }

  /** Runs until a task is to execute its next instruction. @returns what came before */
  async #comesTo(task: TaskStruct): Promise<Stop | undefined> {
    const addr = this.#pc(task);
    if (addr === undefined) return this.continue();
    const { breakpoints, watchpoints } = this.points;
    this.#awaited = { task, addr };
    this.#lookFor([...breakpoints.keys(), addr], watchpoints);
    await this.#go(Number.POSITIVE_INFINITY);
    this.#awaited = undefined;
    const point = this.#met?.point;
    if (point && 'breakpoint' in point && point.breakpoint === addr && lastTask(this.machine) === task) {
      this.#met = undefined;
      return undefined;
    }
    return this.#stopped({ kind: 'interrupt' });
  }

  #pc(task: TaskStruct): bigint | undefined {
    const { core, smp } = this.machine.inspect;
    const port = core.arch.debug;
    const cpu = smp.cpus.find(({ id }) => core.current(id) === task);
    if (cpu) return cpu.pc;
    return task.stackSlot < 0 ? undefined : port?.ofInactive(core.mem, task.sp)[port.pc];
  }

  #lookFor(breakpoints: Iterable<bigint>, watchpoints: readonly WatchPoint[]): void {
    this.#wanted = [[...breakpoints], watchpoints];
    this.#lookout.set(...this.#wanted);
  }

  /** @param to 'let go': as far as it goes by itself */
  async #go(to: number | 'let go'): Promise<void> {
    this.#met = undefined;
    const end = to === 'let go' ? Number.POSITIVE_INFINITY : to;
    if (this.#present && this.isPast) {
      const now = positionOf(this.#present);
      await this.#run.go(Math.min(end, now));
      if (this.#met || this.#isInterrupted || this.position < now) return;
      await this.#use(this.#present);
      this.#lookout.set(...this.#wanted);
    }
    if (to === 'let go' && this.#run.letGo) await this.#run.letGo();
    else await this.#run.go(end);
  }

  /** @param otherwise why it stopped, where nothing else is known */
  #stopped(otherwise: Reason, thread = this.thread): Stop {
    const met = this.#met;
    this.#met = undefined;
    const isInterrupted = this.#isInterrupted;
    this.#isInterrupted = false;
    if (met) return this.#stopOf(met);
    if (this.#watchesLibraries && this.#isNews()) return { thread: this.thread, reason: { kind: 'library' } };
    if (isInterrupted) return { thread: this.thread, reason: { kind: 'interrupt' } };
    if (this.over !== undefined) return { thread: this.thread, reason: { kind: 'end' } };
    return { thread, reason: otherwise };
  }

  #stopOf({ cpu, point }: Met): Stop {
    const { core } = this.machine.inspect;
    const thread = threadOf(this.machine, core.current(cpu.id));
    return 'breakpoint' in point
      ? { thread, reason: { kind: 'breakpoint', addr: point.breakpoint } }
      : { thread, reason: { kind: 'watchpoint', point } };
  }

  #takeHeld(): Stop | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }

  /** A stop at another moment: the debugger first hears which modules there were. */
  #arrived(stop: Stop): Stop {
    if (!this.#watchesLibraries || !this.#isNews()) return stop;
    this.#held = stop;
    return { thread: stop.thread, reason: { kind: 'library' } };
  }

  /** Back to the last moment before this one at which something was met. */
  async reverseContinue(): Promise<Stop> {
    const held = this.#takeHeld();
    if (held) return held;
    const history = this.#way();
    if (!history) return { thread: this.thread, reason: { kind: 'begin' } };
    const known = lastTextWrite(this.#run, this.points);
    const last = known === 'unknown' ? await lastMet(history, this.points, this.position) : known;
    if (!last) {
      await this.#use(await history.at(0));
      return this.#arrived({ thread: this.thread, reason: { kind: 'begin' } });
    }
    if (!last.isBefore) {
      await this.#use(await history.at(last.position));
      return this.#arrived({ thread: last.thread, reason: last.reason });
    }
    // Right before its instruction, as somebody finds it who comes from before.
    const run = await history.at(Math.max(0, last.position - 1));
    await this.#use(run);
    this.#lookFor(this.points.breakpoints.keys(), []);
    while (this.over === undefined && this.position <= last.position) {
      await this.#go(Number.POSITIVE_INFINITY);
      if (this.#met?.position === last.position) break;
    }
    this.#met = undefined;
    return this.#arrived({ thread: last.thread, reason: last.reason });
  }

  /** Back to before the last instruction that a task executed. */
  async reverseStep(thread: number): Promise<Stop> {
    const held = this.#takeHeld();
    if (held) return held;
    const history = this.#way();
    const here = this.position;
    const begin: Stop = { thread: this.thread, reason: { kind: 'begin' } };
    if (!history || here === 0) return begin;
    const run = await lastStep(history, thread, here);
    if (run) {
      await this.#use(run);
      history.prepare(this.position);
      return this.#arrived({ thread, reason: { kind: 'step' } });
    }
    await this.#use(await history.at(0));
    return this.#arrived({ ...begin, thread: this.thread });
  }

  /** To any moment. @returns false: there is no way @throws DebugError for a line that never comes */
  async goTo(moment: Moment): Promise<boolean> {
    if ('line' in moment) return this.#goToLine(moment.line);
    const isAhead =
      'position' in moment ? moment.position >= this.position : moment.time >= this.machine.now();
    if (!isAhead) {
      const history = this.#way();
      if (!history) return false;
      await this.#use(await history.at('position' in moment ? moment.position : 0));
    }
    const { isPast } = this;
    if (
      isPast &&
      this.#present &&
      ('position' in moment
        ? moment.position >= positionOf(this.#present)
        : moment.time >= this.#present.machine.now())
    )
      await this.#use(this.#present);
    this.#lookFor([], []);
    if ('position' in moment) await this.#run.go(moment.position);
    else await runToTime(this.#run, moment.time);
    this.#met = undefined;
    return true;
  }

  /** The last moment before this one at which something was so. @returns undefined: there is no way back @throws DebugError */
  async back(what: string): Promise<BackAnswer | undefined> {
    const history = this.#way();
    return history && goBack(history, what, this.#run);
  }

  async #goToLine(text: string): Promise<boolean> {
    const history = this.#way();
    if (!history) return false;
    const run = await history.at(0);
    if (!(await runToLine(run, text))) {
      run.close();
      throw new DebugError(`no line of the log has '${text}'`);
    }
    await this.#use(run);
    return true;
  }

  #way(): History | undefined {
    return this.changedAt === undefined ? this.#history : undefined;
  }

  async #use(run: Debuggee): Promise<void> {
    if (this.#run !== run) this.#run.close();
    this.#run = run;
    this.#met = undefined;
    this.#lookout = this.#lookAt(run);
  }

  /** To the end, whatever is met. */
  async finish(): Promise<RunReport | undefined> {
    this.#watchesLibraries = false;
    this.#lookFor([], []);
    while (this.over === undefined) await this.#run.go(Number.POSITIVE_INFINITY);
    return this.#run.report;
  }

  close(): void {
    this.#unsubscribe();
    this.#lookout.set([], []);
    this.#run.close();
    if (this.isPast) new Lookout((this.#present as Debuggee).machine).set([], []);
  }
}
