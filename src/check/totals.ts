// The sums of a report over its functions, and the order of its verdicts.

import type { FunctionReport, ObjectCheck, Verdict } from './verdicts.ts';

/** From good to bad: an instruction has the worst that it was given; 0 is none. */
export const GRAVITY: Readonly<Record<Verdict, number>> = {
  right: 1,
  'wrong, declared unreliable': 2,
  'wrong, declared reliable': 3,
};

type Counts = Pick<ObjectCheck, 'functions' | 'instructions' | 'reached' | 'right' | 'unreliable' | 'wrong'>;

export function countsOf(functions: readonly FunctionReport[]): Counts {
  const sum = (of: (f: FunctionReport) => number): number => functions.reduce((n, f) => n + of(f), 0);
  return {
    functions,
    instructions: sum((f) => f.instructions),
    reached: sum((f) => f.reached),
    right: sum((f) => f.right),
    unreliable: sum((f) => f.unreliable),
    wrong: sum((f) => f.wrong),
  };
}

/** Instructions not reached, by reason. */
export function notCoveredOf(functions: readonly FunctionReport[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { notCovered } of functions) {
    for (const [why, n] of Object.entries(notCovered ?? {})) found[why] = (found[why] ?? 0) + n;
  }
  return found;
}
