// Every choice that a machine makes where hardware and kernel leave it open, through one port: which CPU goes on, for how
// long, who is next. What an order of events depends on is here, and nowhere else.
//
// Invariant: a choice that is not made by chance, time or memory of the host: the same chooser, the same machine.

import type { SeededRandom } from './random.ts';

/**
 * cpu: the clock of one more CPU is as far behind as that of those before; 0 takes it in their place. slice: instructions beyond the shortest slice. timer: the CPU that
 * takes a timer while all are idle. task: of a run queue, who waited longest first. waiter: who is woken of those that
 * wait for a lock or a completion, in the order in which they came. ipi: 0 takes an interrupt that is let in at once, 1 later.
 */
export type ChoiceKind = 'cpu' | 'slice' | 'timer' | 'task' | 'waiter' | 'ipi';

export interface Chooser {
  /** @returns one of 0 to count - 1 */
  choose(kind: ChoiceKind, count: number): number;
}

interface KeptChoices {
  readonly made: number;
  readonly drawn: readonly Uint32Array[];
}

/** The port: whoever chooses can be exchanged, and what is chosen is counted. */
export class Choices implements Chooser {
  #chooser: Chooser;
  /** Choices between several, so far. */
  made = 0;

  constructor(chooser: Chooser) {
    this.#chooser = chooser;
  }

  get chooser(): Chooser {
    return this.#chooser;
  }

  use(chooser: Chooser): void {
    this.#chooser = chooser;
  }

  /** Of one that draws from a seed. */
  keep(): KeptChoices | undefined {
    const chooser = this.#chooser;
    return chooser instanceof SeededChooser ? { made: this.made, drawn: chooser.keep() } : undefined;
  }
  restore({ made, drawn }: KeptChoices): void {
    if (!(this.#chooser instanceof SeededChooser)) throw new TypeError('choices that draw from no seed');
    this.made = made;
    this.#chooser.restore(drawn);
  }

  choose(kind: ChoiceKind, count: number): number {
    if (count > 1) this.made++;
    return this.#chooser.choose(kind, count);
  }
}

/**
 * The default: drawn from the machine's seed. CPUs and slices have a stream of their own; tasks and timers draw from the
 * one that canaries and random bytes of the guest come from.
 */
export class SeededChooser implements Chooser {
  readonly #cpus: SeededRandom;
  readonly #kernel: SeededRandom;

  constructor(cpus: SeededRandom, kernel: SeededRandom) {
    this.#cpus = cpus;
    this.#kernel = kernel;
  }

  keep(): readonly Uint32Array[] {
    return [this.#cpus.keep(), this.#kernel.keep()];
  }
  restore([cpus, kernel]: readonly Uint32Array[]): void {
    this.#cpus.restore(cpus);
    this.#kernel.restore(kernel);
  }

  choose(kind: ChoiceKind, count: number): number {
    switch (kind) {
      case 'cpu':
      case 'slice':
        return this.#cpus.below(count);
      case 'timer':
        return this.#kernel.below(count);
      case 'task':
        // Whoever has waited longest, most of the time; now and then another, so that orders vary.
        return count > 1 && this.#kernel.below(4) === 0 ? this.#kernel.below(count) : 0;
      case 'waiter':
      case 'ipi':
        return 0;
    }
  }
}

/** As little as possible happens: the first of all, and the longest slices. What schedules that were searched for start from. */
export class QuietChooser implements Chooser {
  choose(kind: ChoiceKind, count: number): number {
    return kind === 'slice' ? count - 1 : 0;
  }
}

/** Notes what another chooses. */
export class RecordingChooser implements Chooser {
  readonly #chooser: Chooser;
  /** Of those between several. */
  readonly choices: { readonly kind: ChoiceKind; readonly count: number; readonly value: number }[] = [];

  constructor(chooser: Chooser) {
    this.#chooser = chooser;
  }

  choose(kind: ChoiceKind, count: number): number {
    const value = this.#chooser.choose(kind, count);
    if (count > 1) this.choices.push({ kind, count, value });
    return value;
  }
}
