// The loop that runs a machine: one CPU for a slice, then the next one that has something to do, and when none has, time
// passes to the next timer. Which CPU and for how long are choices (src/kernel/choices.ts).

import type { KernelCore } from '../../kernel/core.ts';
import type { Timers } from '../../sched/timer.ts';
import { brokenMemory, isUnforeseen, MachineError } from '../machine_error.ts';
import type { Oops } from '../traps/oops.ts';
import type { Watchdog } from '../traps/watchdog.ts';
import type { Cpu } from './cpu.ts';
import type { Executor } from './executor.ts';
import type { Pace } from './pace.ts';
import type { Smp } from './smp.ts';

export class RunLoop {
  readonly #core: KernelCore;
  readonly #smp: Smp;
  readonly #timers: Timers;
  readonly #watchdog: Watchdog;
  readonly #oops: Oops;
  readonly #executor: Executor;
  readonly #pace: Pace;

  constructor(
    core: KernelCore,
    smp: Smp,
    timers: Timers,
    watchdog: Watchdog,
    oops: Oops,
    executor: Executor,
    pace: Pace,
  ) {
    this.#core = core;
    this.#smp = smp;
    this.#timers = timers;
    this.#watchdog = watchdog;
    this.#oops = oops;
    this.#executor = executor;
    this.#pace = pace;
  }

  /** Executes one slice of one CPU, or lets time pass to the next timer. @returns false when nothing is left to do. */
  step(limitNs = Number.POSITIVE_INFINITY): boolean {
    const smp = this.#smp;
    const timers = this.#timers;
    if (this.#oops.panicked) throw this.#oops.panicked;
    if (this.#executor.rest) {
      this.#rest(limitNs);
      return true;
    }
    // What is done from outside at that time is as a timer.
    let cpu = smp.next(Math.min(timers.next() ?? Number.POSITIVE_INFINITY, limitNs));
    if (!cpu) {
      this.#someCpuIsLeft();
      if (this.#hungTasks(limitNs)) return true;
      const due = timers.next();
      if (due === undefined || due > limitNs) {
        if (Number.isFinite(limitNs)) smp.advanceTo(limitNs);
        return false;
      }
      smp.advanceTo(due);
      const idle = smp.idle();
      cpu = idle[this.#core.choices.choose('timer', idle.length)];
      cpu.wake();
      cpu.tickPending = true;
      cpu.nextTick = nextTickAfter(cpu.clock, this.#timers.tickNs);
    }
    this.runCpu(cpu, smp.slice(cpu), limitNs);
    return true;
  }

  /** @throws MachineError when every CPU has halted with interrupts off: time could pass, and nothing would come of it. */
  #someCpuIsLeft(): void {
    const core = this.#core;
    const smp = this.#smp;
    if (!smp.cpus.every((cpu) => cpu.stopped)) return;
    const where = smp.cpus.map((cpu) => `CPU ${cpu.id}, ${core.current(cpu.id)} at ${core.sym(cpu.pc - 1n)}`);
    throw new MachineError(`halted with interrupts off: nothing can go on (${where.join('; ')})`);
  }

  /** All CPUs idle, khungtaskd wakes up first: it sleeps by no timer, so that a deadlock is the end of a run. */
  #hungTasks(limitNs: number): boolean {
    const due = Math.min(this.#timers.next() ?? Number.POSITIVE_INFINITY, limitNs);
    if (!Number.isFinite(due)) return false;
    const check = this.#watchdog.nextHungCheck();
    if (check === undefined || check >= due) return false;
    this.#smp.advanceTo(check);
    this.#watchdog.checkHungTasks();
    return true;
  }

  /** Runs a CPU for up to `max` instructions, to its next tick, or to a time. @returns instructions executed. */
  runCpu(cpu: Cpu, max: number, limitNs = Number.POSITIVE_INFINITY): number {
    const { ns } = this.#pace;
    this.#smp.current = cpu;
    if (cpu.clock >= cpu.nextTick) {
      if (cpu.tickPending) this.#watchdog.tickMissed(cpu);
      cpu.tickPending = true;
      cpu.nextTick = nextTickAfter(cpu.clock, this.#timers.tickNs);
    }
    const toTick = Math.max(1, Math.ceil((cpu.nextTick - cpu.clock) / ns));
    const toLimit = Math.max(1, Math.ceil((limitNs - cpu.clock) / ns));
    return this.#execute(cpu, () => this.#executor.run(cpu, Math.min(max, toTick, toLimit)));
  }

  /** The slice that was left at an instruction goes on. */
  #rest(limitNs: number): void {
    const { current } = this.#smp;
    if (!current) return;
    const toLimit = Math.max(1, Math.ceil((limitNs - current.clock) / this.#pace.ns));
    this.#execute(current, () => this.#executor.goOn(current, toLimit));
  }

  #execute(cpu: Cpu, run: () => number): number {
    this.#smp.executing = true;
    try {
      return run();
    } catch (error) {
      throw isUnforeseen(error)
        ? this.#unforeseen(cpu, error)
        : brokenMemory(`CPU ${cpu.id} cannot go on`, error);
    } finally {
      this.#smp.executing = false;
    }
  }

  #unforeseen(cpu: Cpu, error: Error): MachineError {
    const core = this.#core;
    const where = `CPU ${cpu.id}, ${core.current(cpu.id)} at ${core.sym(cpu.pc)}`;
    return new MachineError(`internal error: ${error.message} (${where})`, { cause: error });
  }

  /**
   * Runs until as many instructions have been executed since boot, and stops between two of them, in the midst of a slice: what
   * runs on from there runs as if nothing had been. @returns false when nothing is left to execute before
   */
  runToInstruction(count: number): boolean {
    const executor = this.#executor;
    executor.stopAt = count;
    try {
      while (executor.instructions < count) if (!this.step()) return false;
      return true;
    } finally {
      executor.stopAt = Number.POSITIVE_INFINITY;
    }
  }

  /** Runs for virtual ns. */
  runFor(ns: number): void {
    const end = this.#smp.now() + ns;
    while (this.#smp.now() < end && this.step(end));
  }

  /** Runs until the condition holds or virtual ns have passed. @returns whether it holds. */
  runUntil(condition: () => boolean, limitNs: number): boolean {
    const end = this.#smp.now() + limitNs;
    while (!condition()) {
      if (this.#smp.now() >= end || !this.step(end)) return condition();
    }
    return true;
  }

  /** Nothing runs and no timer is armed. */
  idle(): boolean {
    return (
      this.#smp.cpus.every((c) => c.halted && c.wakesAt === undefined) && this.#timers.next() === undefined
    );
  }
}

function nextTickAfter(ns: number, tickNs: number): number {
  return (Math.floor(ns / tickNs) + 1) * tickNs;
}
