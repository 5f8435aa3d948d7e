// Where a task stands that a transition has taken for switched, in words: in a report, and in a check that fails.

import type { Hole } from './recorder.ts';

/** `in f.cold, a part of the original f` */
export function holeText({ func, version, part, forced }: Omit<Hole, 't' | 'patch'>): string {
  const whole = version === func ? `the original ${func}` : version;
  const where = part === undefined ? whole : `${part}, a part of ${whole}`;
  return forced === undefined ? `in ${where}` : `still in ${where}, left there by force of '${forced}'`;
}
