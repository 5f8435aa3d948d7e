// How long an unwinder takes for one frame: from an interrupt's registers to the caller of the function, at places of the
// code that is checked, in this TypeScript.
//
// Invariant: what it costs does not depend on the size of the object: so many places are measured, spread over all.

import type { FrameTime } from './verdicts.ts';

/** Places that are measured: each that is judged first, and then ever fewer. */
const MOST_PLACES = 2000;
/** The fastest of some batches counts: another process may have the processor in between. */
const BATCHES = 3;
const WALKS = 16;

/** The first ones are compiled as they run. */
const WARM = 50;

export class FrameTimer {
  #places = 0;
  #next = 0;
  #seen = 0;
  #ns = 0;

  /** Called at every place that is judged; `walkOf` gives a walk of one frame there. */
  at(walkOf: () => () => void): void {
    if (this.#seen++ < this.#next || this.#places >= MOST_PLACES) return;
    this.#places++;
    // The distance grows as an object shows to be large.
    this.#next = this.#seen + (this.#places >> 4);
    const walk = walkOf();
    let fastest = Number.POSITIVE_INFINITY;
    for (let batch = 0; batch < BATCHES; batch++) {
      const start = process.hrtime.bigint();
      for (let i = 0; i < WALKS; i++) walk();
      fastest = Math.min(fastest, Number(process.hrtime.bigint() - start));
    }
    if (this.#places > WARM) this.#ns += fastest / WALKS;
  }

  get time(): FrameTime {
    const frames = Math.max(0, this.#places - WARM);
    return { frames, ns: Math.round(this.#ns) };
  }
}
