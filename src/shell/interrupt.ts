// What ends a command that does not end by itself: a limit, and whoever gave it and wants no more of it. The latter is asked between slices of the machine, and changing nothing of what
// the machine does until it is said.

/** Instructions of all CPUs after which a command is given up, where nothing else is said: 100 s of one that is busy. */
export const INSTRUCTION_LIMIT = 250_000_000;

export class Interrupt {
  readonly #poll: () => boolean;
  #requested = false;

  /** @param poll asks somebody who cannot call request() while the machine runs, such as another thread */
  constructor(poll: () => boolean = () => false) {
    this.#poll = poll;
  }

  request(): void {
    this.#requested = true;
  }

  get requested(): boolean {
    this.#requested ||= this.#poll();
    return this.#requested;
  }

  /** The next command is another one. */
  clear(): void {
    this.#requested = false;
  }
}
