// What kernels after 6.1 do otherwise in kernel/trace and kernel/kprobes.c, each from which release on.

import type { Since } from '../kernel/release.ts';

export const TRACING = {
  /** A probe of tracefs on a name that is not there, or there several times, is EINVAL; ENOENT and EADDRNOTAVAIL before. */
  badSymbolIsInvalid: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** A write to trace_marker is an entry of up to 4,054 bytes, of 1,024 before. */
  longMarks: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** tracing_mark_write() records with preemption disabled, and its entries say so. */
  marksWithoutPreemption: { release: '7.3', seen: '7.3.4', not: '6.12.117' },
  /** Who waits for trace_pipe goes by wait_on_pipe(), and does not end when tracing_on is turned off; a read has up to 8,155 bytes, 4,095 before. */
  waitsOnPipe: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
} as const satisfies Record<string, Since>;
