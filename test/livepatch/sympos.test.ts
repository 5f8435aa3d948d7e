// Positions of symbols: 0 says that there is one of the name, which is what 1 says too where there is one.

import { beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { KlpPatch } from '../../src/livepatch/structs.ts';
import { World } from '../ftrace/world.ts';

const { klp_func, klp_patch } = BUILT_IN.structs;

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

/** The next patches name their functions by this position, and replace or not. */
function naming(sympos: bigint, replace: boolean): void {
  world.beforeEnable = (patch: KlpPatch) => {
    world.core.mem.writeU8(patch.addr + BigInt(klp_patch.fields.replace), replace ? 1 : 0);
    for (const object of patch.staticObjects())
      for (const func of object.staticFuncs())
        world.core.mem.writeU64(func.addr + BigInt(klp_func.fields.old_sympos), sympos);
  };
}

const functionsOf = (patch: string): string[] => {
  const found = world.livepatch.patches().find(({ name }) => name === patch);
  return (found?.objects() ?? []).flatMap((object) =>
    object.funcs().map((func) => `${func.oldName},${func.oldSympos}${func.nop ? ' nop' : ''}`),
  );
};

describe('a patch that replaces another', () => {
  it.each([
    [0n, 1n],
    [1n, 0n],
  ])('has no nop for a function that the older names by position %i and it by %i', (older, newer) => {
    world.load('klpdemo_target');
    naming(older, false);
    expect(world.load('klpdemo_patch_target')).toMatchObject({ ok: true });
    // The transition stays open, so that its nops are still there.
    world.running.add(world.core.tasks.idle[1]);
    naming(newer, true);
    expect(world.load('klpdemo_patch_both')).toMatchObject({ ok: true });
    const functions = functionsOf('klpdemo_patch_both');
    expect(functions).toContain(`klpdemo_round,${newer}`);
    expect(functions.filter((name) => name.endsWith('nop'))).toEqual([]);
    expect(world.node('/kernel/livepatch/klpdemo_patch_both/klpdemo_target/klpdemo_round,1')).toBeDefined();
  });

  it('has one for a function of another position', () => {
    world.load('klpdemo_target');
    naming(2n, false);
    // Of klpdemo_twin there are two.
    expect(world.load('klpdemo_patch_sympos')).toMatchObject({ ok: true });
    world.running.add(world.core.tasks.idle[1]);
    naming(0n, true);
    expect(world.load('klpdemo_patch_target')).toMatchObject({ ok: true });
    expect(functionsOf('klpdemo_patch_target').filter((name) => name.endsWith('nop'))).toEqual([
      'klpdemo_twin,2 nop',
    ]);
  });
});
