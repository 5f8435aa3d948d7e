// Parts of asm/ that not every kernel has, by the names that they are assembled with.

import type { KernelDescription } from '../../kernel/description.ts';
import { LONGER_RECORDS } from '../../kernel/printk.ts';
import { holds } from '../../kernel/release.ts';
import { runFlagBytes } from '../../kernel/task_struct.ts';
import { LIVEPATCH } from '../../livepatch/since.ts';
import { TRACING } from '../../tracing/since.ts';
import { DUMPS } from '../traps/since.ts';

const FEATURES = {
  KLP_TRIES_ITSELF: LIVEPATCH.triesItself,
  KLP_IN_COND_RESCHED: LIVEPATCH.inCondResched,
  KLP_IN_SCHEDULE: LIVEPATCH.inSchedule,
  KLP_FINDS_SECTIONS: LIVEPATCH.findsSections,
  WARN_IS_TRAP: DUMPS.warningSaysWhereFirst,
  PRINTK_RECORD_IS_1024: LONGER_RECORDS,
  WAIT_ON_PIPE: TRACING.waitsOnPipe,
} as const;

/** @param isReal the image lies behind a real kernel */
export function featuresOf(kernel: KernelDescription, isReal: boolean): Record<string, number> {
  const names = Object.entries(FEATURES).flatMap(([name, since]) => (holds(kernel, since) ? [name] : []));
  if (runFlagBytes(kernel) === 1) names.push('ON_CPU_IS_A_BYTE');
  // Code of its own changes its branches.
  if (isReal) names.push('BEHIND_KERNEL', 'REAL_KERNEL');
  if (names.length > 0) names.push('BRANCH_UPDATES');
  return Object.fromEntries(names.map((name) => [name, 1]));
}
