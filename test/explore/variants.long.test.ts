// Mistakes that are planted one at a time are found, and without them nothing is.

import { describe, expect, it } from 'vitest';
import { explored, fixture, type Wanted } from './explore.ts';
import { noGracePeriodAtCompletion, noGracePeriodAtReversal } from './variants.ts';

const IN_HANDLER: Wanted = { most: 800, known: ['gap'], at: 'klp_ftrace_handler' };
const IN_UPDATE: Wanted = {
  searcher: 'bounded',
  preemptions: 1,
  most: 800,
  known: ['gap'],
  at: 'klp_update_patch_state',
};

describe('a grace period that is missing', () => {
  it('between func->transition and patch_state: klp_ftrace_handler() meets KLP_UNDEFINED', async () => {
    const { found } = await explored(fixture('explore_grace'), {
      ...IN_HANDLER,
      prepare: noGracePeriodAtCompletion,
    });
    expect(found?.problems[0].text).toMatch(/WARNING: .*klp_ftrace_handler: KLP_UNDEFINED/);
  });

  it('before a reversal goes on: a task keeps the old target, and the transition does not end', async () => {
    const { found } = await explored(fixture('explore_reversal'), {
      ...IN_UPDATE,
      prepare: noGracePeriodAtReversal,
    });
    expect(found?.problems[0].text).toMatch(/^expected unpatching of klpdemo_patch_target complete/);
    expect(found?.plan.decisions.map(({ kind }) => kind)).toEqual(['h']);
  });
});

describe('the core as it is', () => {
  it('goes wrong in none of the same orders', async () => {
    const handler = await explored(fixture('explore_grace'), { ...IN_HANDLER, most: 300 });
    const update = await explored(fixture('explore_reversal'), IN_UPDATE);
    expect([handler.found, update.found]).toEqual([undefined, undefined]);
    expect([handler.schedules, update.complete]).toEqual([300, true]);
  });
});
