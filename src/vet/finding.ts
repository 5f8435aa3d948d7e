// What a verdict is made of: one sentence a finding, of one part, with its weight.
//
// Invariant: a finding is made of what this run has seen; what was not looked at is one of its own.

/** The parts of a verdict, in the order in which they are told. */
export const PARTS = ['loads', 'patchable', 'unwinder', 'stall', 'comes and goes'] as const;
export type Part = (typeof PARTS)[number];

/**
 * good: looked at, and as it should be. told: no fault of the patch, and worth knowing. bad: it does harm, or does not work.
 * not seen: nothing is known of it.
 */
export type Weight = 'good' | 'told' | 'bad' | 'not seen';

export interface Finding {
  readonly part: Part;
  readonly weight: Weight;
  /** The function or object that it is about. */
  readonly about?: string;
  readonly text: string;
  /** The kernel's own words, a chain of calls, what is left. */
  readonly lines?: readonly string[];
}

export type Verdict = 'good' | 'not good' | 'not all seen';

/** What is against it comes before what was not looked at. */
export function verdictOf(findings: readonly Finding[]): Verdict {
  if (findings.some(({ weight }) => weight === 'bad')) return 'not good';
  return findings.some(({ weight }) => weight === 'not seen') ? 'not all seen' : 'good';
}
