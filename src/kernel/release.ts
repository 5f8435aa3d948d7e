// Which of two kernels is the older, by their releases; and from which one on something holds.
//
// What differs between kernels and does not show in their types is in a table of each subsystem (since.ts beside it), a row
// a difference.

import type { KernelDescription } from './description.ts';

/** By the first two numbers, of `6.12.117+deb13-amd64` and `6.2-rc1`: negative where the first is the older. */
export function compareSeries(a: string, b: string): number {
  const parts = (release: string) => /^(\d+)\.(\d+)/.exec(release)?.slice(1).map(Number) ?? [0, 0];
  const [[majorA, minorA], [majorB, minorB]] = [parts(a), parts(b)];
  return majorA - majorB || minorA - minorB;
}

/** Something that holds from a release on. */
export interface Since {
  readonly release: string;
  /** The release from which on it does not any more. */
  readonly before?: string;
  /** In which kernels it was seen to hold; `not`: to the last in which it did not. */
  readonly seen: string;
  readonly not: string;
}

export const holds = ({ release }: Pick<KernelDescription, 'release'>, since: Since): boolean =>
  compareSeries(release, since.release) >= 0 &&
  (since.before === undefined || compareSeries(release, since.before) < 0);
