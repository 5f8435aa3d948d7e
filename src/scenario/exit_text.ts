// How a task ended, in words.

import { errnoName } from '../kernel/errno.ts';
import type { ExitCode } from './values.ts';

/** Exit statuses from here on are 128 + the signal that ended the task, as a shell has them. */
const SIGNALED = 128;

/** `exit 0`, `EINVAL (22)`, `killed`, `still running` */
export function exitText(status: ExitCode | undefined): string {
  if (status === undefined) return 'still running';
  if (status === 'killed' || status > SIGNALED) return 'killed';
  if (status === 0) return 'exit 0';
  const name = errnoName(status);
  return name === undefined ? `exit ${status}` : `${name} (${status})`;
}
