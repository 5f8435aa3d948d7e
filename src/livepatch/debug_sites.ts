// The pr_debug() lines of kernel/livepatch, with the places they have in 6.1.

import type { DebugSite } from '../kernel/dynamic_debug.ts';

function at(line: number, func: string, format: string): DebugSite {
  return { file: 'kernel/livepatch/transition.c', line, module: 'livepatch', func, format: `${format}\\n` };
}

export const DEBUG = {
  complete: at(75, 'klp_complete_transition', "'%s': completing %s transition"),
  cancel: at(148, 'klp_cancel_transition', "'%s': canceling patching transition, going to unpatch"),
  running: at(316, 'klp_try_switch_task', '%s: %s:%d is running'),
  unreliable: at(320, 'klp_try_switch_task', '%s: %s:%d has an unreliable stack'),
  sleeping: at(324, 'klp_try_switch_task', '%s: %s:%d is sleeping on function %s'),
  unknown: at(329, 'klp_try_switch_task', '%s: Unknown error code (%d) when trying to switch %s:%d'),
  init: at(521, 'klp_init_transition', "'%s': initializing %s transition"),
  reverse: at(582, 'klp_reverse_transition', "'%s': reversing transition from %s"),
} as const;
