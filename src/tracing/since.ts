// What kernels after 6.1 do otherwise in kernel/trace and kernel/kprobes.c, each from which release on.

import type { Since } from '../kernel/release.ts';

export const TRACING = {
  /** A probe of tracefs on a name that is not there, or there several times, is EINVAL; ENOENT and EADDRNOTAVAIL before. */
  badSymbolIsInvalid: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
} as const satisfies Record<string, Since>;
