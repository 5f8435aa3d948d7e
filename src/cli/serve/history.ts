// What was done to a machine from outside, and between which of its instructions: enough to have every moment of it again.

/** Between two instructions. */
export interface Position {
  /** Executed since boot, by all CPUs. */
  readonly instructions: number;
  /** Virtual ns: while all CPUs are idle it passes alone. */
  readonly now: number;
}

export interface Typed {
  readonly line: string;
  readonly at: Position;
}

/** A moment to go back to. */
export type Moment = { readonly instructions: number } | { readonly now: number };

export const isBefore = (position: Position, moment: Moment): boolean =>
  'instructions' in moment ? position.instructions < moment.instructions : position.now < moment.now;

export const isSame = (a: Position, b: Position): boolean =>
  a.instructions === b.instructions && a.now === b.now;

export const isBehind = (a: Position, b: Position): boolean =>
  a.instructions > b.instructions || a.now > b.now;

/** Virtual ns that pass at once while nothing has to be done. */
const QUANTUM = 1e6;

/** Up to when time passes at once. */
export const nextQuantum = (now: number): number => (Math.floor(now / QUANTUM) + 1) * QUANTUM;
