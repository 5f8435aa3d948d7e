// What kernels after 6.1 do otherwise in kernel/workqueue.c, each from which release on.

import type { Since } from '../kernel/release.ts';

export const QUEUES = {
  /** Names have eight more characters, a cut is warned of, and one of the system's is shorter, so that it is none. */
  longNames: { release: '6.8', seen: '6.12.117, 7.3.4', not: '6.1' },
} as const satisfies Record<string, Since>;
