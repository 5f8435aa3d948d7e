// Why a machine has stopped, as a debugger is told.

import type { WatchPoint } from '../history/points.ts';

export type Reason =
  | { readonly kind: 'step' | 'interrupt' | 'library' }
  /** The history begins, or ends, here. */
  | { readonly kind: 'begin' | 'end' }
  | { readonly kind: 'breakpoint'; readonly addr: bigint }
  | { readonly kind: 'watchpoint'; readonly point: WatchPoint };

export interface Stop {
  readonly thread: number;
  readonly reason: Reason;
}
