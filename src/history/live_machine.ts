// A machine that others have execute, a command after the other, in the hands of a debugger for a while: it stands still in
// the midst of a command, or between two, and goes on as if nothing had been when the debugger is gone.
//
// Invariant: a command begins only while nobody holds the machine. Where none is under way and the debugger steps, time
// passes for its sake alone, in whole slices when it lets go, and that is noted: the history can be executed again.

import type { Machine } from '../machine/machine.ts';
import type { Drive } from '../shell/guest.ts';
import type { Debuggee } from './debuggee.ts';
import { Driver } from './driver.ts';

/** As long as a debugger steps a machine that nobody else has execute: virtual ns. */
export const OWN_NS = 1e15;

/** Time that passes for a debugger's sake. */
export interface OwnTime {
  /** Instructions executed when it was over. */
  until: number | undefined;
}

/** Who has it execute commands. */
interface Commands {
  /** After which nothing can be executed. */
  readonly failure: Error | undefined;
  /** Time passes for a debugger's sake. */
  passes(own: OwnTime): void;
  /** A debugger has written to the machine: it has another history. */
  changed(): void;
}

export class LiveMachine implements Debuggee {
  readonly machine: Machine;
  readonly report = undefined;
  readonly #driver: Driver;
  readonly #commands: Commands;
  #isBusy = false;
  /** Commands wait for it to be let go. */
  #held: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  /** A debugger wants an instruction executed. */
  #isWanted = false;
  #own: { readonly time: OwnTime; isOver: boolean } | undefined;
  #broken: Error | undefined;
  /** Has the machine run, for commands. */
  readonly drive: Drive = (condition, ns) => this.#driver.drive(condition, ns);

  constructor(machine: Machine, commands: Commands) {
    this.machine = machine;
    this.#commands = commands;
    this.#driver = new Driver(machine, false);
  }

  get over(): string | undefined {
    return (this.#broken ?? this.#commands.failure)?.message;
  }

  /** Does a command when nobody holds the machine. */
  async command<T>(work: () => Promise<T>): Promise<T> {
    while (this.#held) await this.#held.over;
    this.#isBusy = true;
    try {
      if (this.#broken) throw this.#broken;
      return await work();
    } finally {
      this.#isBusy = false;
      if (this.#isWanted && this.over === undefined) this.#pass();
      // It has come to its end before it stood still.
      else if (this.over !== undefined || this.#driver.isToStop) this.#driver.halted();
    }
  }

  /** A debugger comes: stands still from now on. */
  async hold(): Promise<void> {
    this.#hold();
    if (!this.#isBusy) return;
    const stopped = this.#driver.stopped();
    this.#driver.interrupt();
    await stopped;
  }
  #hold(): void {
    if (this.#held) return;
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#held = { over, end };
  }
  #release(): void {
    this.#held?.end();
    this.#held = undefined;
  }

  async go(to: number): Promise<void> {
    const { executor } = this.machine.inspect;
    if (this.over !== undefined || executor.instructions >= to) return;
    this.#isWanted = true;
    const stopped = this.#driver.stopped();
    this.#driver.goOn(to);
    if (!this.#isBusy && !this.#own) this.#pass();
    await stopped;
    this.#isWanted = false;
    executor.stopAt = Number.POSITIVE_INFINITY;
  }

  /** Time passes, though there is no command. */
  #pass(): void {
    const own = { time: { until: undefined } as OwnTime, isOver: false };
    this.#own = own;
    this.#commands.passes(own.time);
    const over = (error?: unknown): void => {
      if (error !== undefined) this.#broken = error instanceof Error ? error : new Error(String(error));
      own.time.until = this.machine.inspect.executor.instructions;
      this.#own = undefined;
      this.#driver.halted();
    };
    this.#driver.drive(() => own.isOver, OWN_NS).then(() => over(), over);
  }

  /** Others have it go on. Resolves when it stands still again: at executor.stopAt, after interrupt(), or for good. */
  async letGo(): Promise<void> {
    if (!(await this.#endOwn()) || this.over !== undefined) return;
    const stopped = this.#driver.stopped();
    this.#driver.goOn(Number.POSITIVE_INFINITY);
    this.#release();
    await stopped;
    this.#hold();
    this.machine.inspect.executor.stopAt = Number.POSITIVE_INFINITY;
  }

  /** What passes for the debugger's sake comes to the end of its slice. @returns false: something stopped it before */
  async #endOwn(): Promise<boolean> {
    const own = this.#own;
    if (!own) return true;
    own.isOver = true;
    const stopped = this.#driver.stopped();
    this.#driver.goOn(Number.POSITIVE_INFINITY);
    await stopped;
    if (this.#driver.isPaused) own.isOver = false;
    return !this.#driver.isPaused;
  }

  interrupt(): void {
    this.#driver.interrupt();
    if (!this.#isBusy && !this.#own) this.#driver.halted();
  }

  /** The debugger is gone, and nothing is looked for any more. */
  async leave(): Promise<void> {
    while (!(await this.#endOwn()));
    this.#driver.goOn(Number.POSITIVE_INFINITY);
    this.#release();
  }

  changed(): void {
    this.#commands.changed();
  }

  /** It is not the debugger's. */
  close(): void {}
}
