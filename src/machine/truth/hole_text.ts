// Where a task stands that a transition has taken for switched, in words: as it happens in a run and in the shell, in a
// report, and in a check that fails.

import type { KernelEvent } from '../../kernel/events.ts';

type Hole = Extract<KernelEvent, { type: 'hole' }>;

/** `in f.cold, a part of the original f` */
export function holeText({
  func,
  version,
  part,
  forced,
}: Pick<Hole, 'func' | 'version' | 'part' | 'forced'>): string {
  const whole = version === func ? `the original ${func}` : version;
  const where = part === undefined ? whole : `${part}, a part of ${whole}`;
  return forced === undefined ? `in ${where}` : `still in ${where}, left there by force of '${forced}'`;
}

/** Who stands there, and whose transition passed over it. */
export function holeLine(hole: Hole): string {
  const { comm, pid, patch } = hole;
  return `${comm}:${pid} ${holeText(hole)}: '${patch}' does not see it (docs/findings.md)`;
}
