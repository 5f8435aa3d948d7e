// The mistakes that exploring has to find, one at a time: each in a scenario of ordinary operations, by the command that is used
// for the core as it is. `npm run planted` prints what is found of each.

import type { Wanted } from './explore.ts';
import type { Plant } from './variants.ts';
import * as variants from './variants.ts';

interface Planted {
  /** The name of the variant. */
  readonly name: string;
  readonly plant: Plant;
  readonly scenario: string;
  readonly wanted: Omit<Wanted, 'prepare'>;
  /** What is found, a problem's text. */
  readonly finds: RegExp;
  /** What it is held against, where the mistake needs more than the core has: it is no mistake by itself. */
  readonly without?: Plant;
}

const HANDLER = { most: 800, known: ['gap'], at: 'klp_ftrace_handler' } as const;
const ONE = { searcher: 'bounded', preemptions: 1, most: 800 } as const;

export const PLANTED: readonly Planted[] = [
  {
    name: 'patchedBeforeNotifier',
    plant: variants.patchedBeforeNotifier,
    scenario: 'explore_coming',
    wanted: { ...ONE, at: '__do_sys_finit_module' },
    finds: /WARNING: .*klp_patch_object/,
  },
  {
    name: 'modLeftSet',
    plant: variants.modLeftSet,
    scenario: 'explore_refused',
    wanted: { ...ONE },
    finds: /object 'klpdemo_target' of 'klpdemo_patch_both' has obj->mod set, and its module is not there/,
  },
  {
    name: 'onlyFailingUnpatched',
    plant: variants.onlyFailingUnpatched,
    scenario: 'explore_refused',
    wanted: { ...ONE },
    finds: /object 'klpdemo_target' of 'klpdemo_patch_target' is patched, and its module is not there/,
  },
  {
    name: 'targetForOneCall',
    plant: variants.targetForOneCall,
    scenario: 'explore_children',
    wanted: { ...ONE, at: 'enabled_store' },
    finds: /gets klpdemo_|mixed/,
  },
  {
    name: 'targetAtFork',
    plant: variants.targetAtFork,
    scenario: 'explore_children',
    wanted: { ...ONE, at: 'copy_process', kinds: ['h', 'p'] },
    finds: /KLP_UNDEFINED|mixed/,
  },
  {
    name: 'targetWrittenNotTaken',
    plant: variants.targetWrittenNotTaken,
    scenario: 'explore_children',
    wanted: { ...ONE, at: 'enabled_store' },
    finds: /not its version|mixed|gets /,
  },
  {
    name: 'noGracePeriodAtCompletion',
    plant: variants.noGracePeriodAtCompletion,
    scenario: 'explore_grace',
    wanted: HANDLER,
    finds: /WARNING: .*klp_ftrace_handler: KLP_UNDEFINED/,
  },
  {
    name: 'noGracePeriodAtReversal',
    plant: variants.noGracePeriodAtReversal,
    scenario: 'explore_reversal',
    wanted: { ...ONE, known: ['gap'], at: 'klp_update_patch_state' },
    finds: /^expected unpatching of klpdemo_patch_target complete/,
  },
  {
    name: 'transitionBeforeStates',
    plant: variants.transitionBeforeStates,
    scenario: 'explore_grace',
    wanted: { ...ONE, at: 'enabled_store', kinds: ['w'] },
    finds: /KLP_UNDEFINED/,
  },
  {
    name: 'targetBehindFlags',
    plant: variants.targetBehindFlags,
    scenario: 'explore_grace',
    wanted: { ...ONE, at: 'klp_enable_patch,enabled_store', kinds: ['w'] },
    finds: /./,
  },
  {
    name: 'transitionBehindStack',
    plant: variants.transitionBehindStack,
    scenario: 'explore_grace',
    wanted: { ...ONE, at: 'klp_enable_patch', kinds: ['h'] },
    finds: /./,
  },
  {
    name: 'noneIsRefused',
    plant: variants.noneIsRefused,
    scenario: 'explore_two_loads',
    wanted: { ...ONE },
    finds: /a deadlock: /,
  },
  {
    name: 'nobodyAsksWhoWaits',
    plant: variants.nobodyAsksWhoWaits,
    scenario: 'explore_init_waits',
    wanted: { ...ONE },
    finds: /a deadlock: /,
  },
  {
    name: 'noGracePeriodAfterUnpatching',
    plant: variants.noGracePeriodAfterUnpatching,
    scenario: 'explore_stack',
    wanted: { most: 2000, preemptions: 1, at: 'klp_ftrace_handler', kinds: ['h'] },
    finds: /not its version any more|gets /,
  },
  {
    name: 'wokenTooEarly',
    plant: variants.wokenTooEarly,
    scenario: 'explore_gate',
    wanted: { ...ONE },
    finds: /wake-up is lost/,
  },
  {
    name: 'transitionBehindFlags',
    plant: variants.transitionBehindFlags,
    scenario: 'explore_gap',
    wanted: { ...ONE, at: 'enabled_store', kinds: ['h', 'w'] },
    finds: /patch_state 0 calls cmdline_proc_show and gets klpdemo_new/,
  },
  {
    name: 'clearedBeforeGracePeriod',
    plant: variants.clearedBeforeGracePeriod,
    scenario: 'explore_upper',
    wanted: { ...ONE, at: 'klp_ftrace_handler', kinds: ['h'] },
    finds: /not its version any more|gets /,
  },
  {
    name: 'preemptedInCondResched',
    plant: variants.preemptedInCondResched,
    scenario: 'explore_cond_resched',
    wanted: { ...ONE, known: ['gap'], at: 'kthread_should_stop' },
    finds: /has patch_state 1 outside of a transition/,
    without: variants.switchInCondResched,
  },
  {
    name: 'walkOfSnapshot',
    plant: variants.walkOfSnapshot,
    scenario: 'explore_threads',
    wanted: {
      searcher: 'bounded',
      preemptions: 2,
      most: 1500,
      at: '__do_sys_finit_module,enabled_store',
      kinds: ['h'],
    },
    finds: /WARNING: .*klp_complete_transition|outside of a transition/,
    without: variants.walkTakesTime,
  },
  {
    name: 'noGracePeriodAtInit',
    plant: variants.noGracePeriodAtInit,
    scenario: 'explore_late_child',
    wanted: {
      searcher: 'bounded',
      preemptions: 2,
      most: 2000,
      at: 'copy_process,enabled_store',
      kinds: ['h', 'w'],
    },
    finds: /mixed/,
  },
  {
    name: 'copiedAtTwoMoments',
    plant: variants.copiedAtTwoMoments,
    scenario: 'explore_fork',
    wanted: {
      searcher: 'bounded',
      preemptions: 2,
      most: 1500,
      at: 'kthread_create_on_node,enabled_store',
      kinds: ['h'],
    },
    finds: /WARNING: .*klp_complete_transition/,
    without: variants.forkTakesTime,
  },
];
