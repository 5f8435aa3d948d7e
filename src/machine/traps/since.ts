// What kernels after 6.1 print otherwise of an oops and in a dump, each from which release on.

import type { Since } from '../../kernel/release.ts';

export const DUMPS = {
  /** `CPU: 1 UID: 0 PID: 12`, and a line that has the taints by name. */
  uidAndTaintNames: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** `#1 PREEMPT(lazy)`, and room for the build's id behind the package. */
  namesPreemptModel: { release: '6.15', seen: '7.3.4', not: '6.12.117' },
  /** `WARNING: kernel/bug.c:12 at f+0x1/0x2, CPU#0: comm/12`, and a cut that is printed at KERN_INFO. */
  warningSaysWhereFirst: { release: '6.19', seen: '7.3.4', not: '6.18.15' },
} as const satisfies Record<string, Since>;
