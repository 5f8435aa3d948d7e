// Mistakes that this code could have, each planted in a machine by replacing a part of it.

import type { HostGenerator } from '../../src/guest/hostcall.ts';
import type { Machine } from '../../src/machine/machine.ts';

type Plant = (machine: Machine) => void;

function* nothing(): HostGenerator<void> {}

/** klp_synchronize_transition() does nothing where the last thing that the transition did was this. */
function noSynchronizeAfter(what: string): Plant {
  return ({ events, inspect: { livepatch } }) => {
    let last = '';
    events.subscribe(
      (event) => {
        if (event.type === 'transition') last = event.what;
      },
      ['transition'],
    );
    const { context } = livepatch;
    const original = context.synchronize.bind(context);
    context.synchronize = () => (last === what ? nothing() : original());
  };
}

/** func->transition is cleared, and patch_state reset, without a grace period between. */
export const noGracePeriodAtCompletion = noSynchronizeAfter('completing');

/** A reversal goes on at once: a klp_update_patch_state() that saw the flag may still be about to write the old target. */
export const noGracePeriodAtReversal = noSynchronizeAfter('reversing');
