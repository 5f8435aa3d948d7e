// What kernels after 6.1 do otherwise in kernel/livepatch, each from which release on.

import type { Since } from '../kernel/release.ts';

export const LIVEPATCH = {
  /** /sys/kernel/livepatch/PATCH/replace */
  replaceFile: { release: '6.11', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** /sys/kernel/livepatch/PATCH/stack_order: 1 for the lowest, counted anew when one goes. */
  stackOrderFile: { release: '6.14', seen: '7.3.4', not: '6.12.117' },
  /** klp_reverse_transition() turns the target round when no task can still be switching to the old one. */
  reversesLast: { release: '6.4', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** A task asks klp_try_switch_task() for itself, by __klp_sched_try_switch(), while a transition is under way... */
  triesItself: { release: '6.4', seen: '6.12.117, 6.18.15, 7.3.4', not: '6.1' },
  /** ...where it calls cond_resched(), whose static call goes by klp_cond_resched() then; */
  inCondResched: { release: '6.4', before: '6.16', seen: '6.12.117', not: '6.1, 6.18.15' },
  /** ...or in __schedule(), as it goes to sleep with TASK_FREEZABLE, by the static key klp_sched_try_switch_key. */
  inSchedule: { release: '6.16', seen: '6.18.15, 7.3.4', not: '6.12.117' },
  /** Inits that klp-build makes find their tables by klp_find_section_by_name(). */
  findsSections: { release: '6.19', seen: '7.3.4', not: '6.18.15' },
} as const satisfies Record<string, Since>;
