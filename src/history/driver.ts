// Has a machine go on only when it is told to. What it does is what it does undisturbed: it stops between two instructions,
// in the midst of a slice if need be, and nothing that drives it moves.
//
// Invariant: what is waited for is looked at between slices alone, as Machine.runUntil() does.

import type { Machine } from '../machine/machine.ts';

/** For how long, in ms of the host's clock, nothing else is heard. */
const HEARS_AFTER = 20;
/** Slices between two looks at that clock. */
const SLICES = 64;

export class Driver {
  readonly #machine: Machine;
  /** Has the machine go on. */
  #goOn: (() => void) | undefined;
  /** Somebody waits for it to stop. */
  #stopped: () => void = () => {};
  #isToStop: boolean;

  /** @param holds it stops before its first instruction */
  constructor(machine: Machine, holds: boolean) {
    this.#machine = machine;
    this.#isToStop = holds;
  }

  /** It stands between two instructions of what drives it. */
  get isPaused(): boolean {
    return this.#goOn !== undefined;
  }

  /** interrupt() has been called, and nothing has stopped for it yet, or it stands still for it. */
  get isToStop(): boolean {
    return this.#isToStop;
  }

  /** Machine.runUntil(), with stops. */
  async drive(condition: () => boolean, ns: number): Promise<boolean> {
    const machine = this.#machine;
    const { executor } = machine.inspect;
    const end = machine.now() + ns;
    let heard = performance.now();
    for (let slice = 1; ; slice++) {
      if (this.#isToStop || executor.instructions >= executor.stopAt) {
        await this.#pause();
        heard = performance.now();
      }
      if (!executor.rest) {
        if (condition()) return true;
        if (machine.now() >= end) return condition();
      }
      if (!machine.step(end)) return condition();
      if (slice % SLICES === 0 && performance.now() - heard > HEARS_AFTER) {
        await new Promise(setImmediate);
        heard = performance.now();
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#goOn = resolve;
      this.#stopped();
    });
  }

  /** Resolves when it is paused, or halted() is called. */
  stopped(): Promise<void> {
    return new Promise((resolve) => {
      this.#stopped = resolve;
    });
  }

  /** Goes on until so many instructions have been executed, executor.stopAt is reached, or it is to stop. */
  goOn(to: number): void {
    this.#machine.inspect.executor.stopAt = to;
    this.#isToStop = false;
    const goOn = this.#goOn;
    this.#goOn = undefined;
    goOn?.();
  }

  /** It is to stop as soon as it can. */
  interrupt(): void {
    this.#isToStop = true;
  }

  /** What has driven it does so no more. */
  halted(): void {
    this.#stopped();
  }
}
