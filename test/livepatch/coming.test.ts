// Modules that come while patches come: who has been told of whom.

import { beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { KlpObject } from '../../src/livepatch/structs.ts';
import { World } from '../ftrace/world.ts';

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

const targets = (): KlpObject[] =>
  world.livepatch.patches().flatMap((patch) => patch.objects().filter((o) => o.name === 'klpdemo_target'));
const round = () => world.livepatch.patching.findOps(world.sym('klpdemo_target:klpdemo_round'));

describe('a patch that comes between the listing of a module and its notification', () => {
  it('leaves the module to klp_module_coming(), which patches it once', () => {
    world.load('klpdemo_target');
    const mod = world.loader.modules.find('klpdemo_target');
    if (!mod) throw new Error('it is loaded');
    mod.state = 'COMING';
    world.livepatch.context.setModuleAlive(mod.addr, false);
    expect(world.load('klpdemo_patch_target')).toMatchObject({ ok: true });
    expect(targets().map((object) => [object.mod, object.patched])).toEqual([[0n, false]]);
    expect(round()).toBeUndefined();
    expect(world.run(world.livepatch.moduleComing(mod.addr))).toBe(0);
    expect(targets().map((object) => [object.mod, object.patched])).toEqual([[mod.addr, true]]);
    expect(round()).toBeDefined();
    expect(world.core.taints & (1 << BUILT_IN.constants.TAINT_WARN)).toBe(0);
    expect(world.dmesg.filter((line) => line.includes('WARNING'))).toEqual([]);
  });
});

describe('a module that a patch refuses', () => {
  it('is in no patch: those before it have let it go, with their callbacks', () => {
    world.load('klpdemo_patch_target');
    world.load('klpdemo_patch_both');
    const callbacks: string[] = [];
    for (const name of ['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch'])
      world.guest.set(name, ([object]) => {
        const named = world.core.mem.readU64(BigInt(object)) !== 0n;
        if (named) callbacks.push(name);
        return named && name === 'pre_patch' ? BigInt.asUintN(64, -16n) : 0n;
      });
    const told: string[][] = [];
    world.core.events.subscribe(
      (e) => e.type === 'klp_object' && told.push([e.what, e.patch, e.object]),
      ['klp_object'],
    );
    const heap = world.core.slab.used();
    expect(world.load('klpdemo_target')).toMatchObject({ ok: false, code: 'EBUSY' });
    expect(targets().map((object) => [object.mod, object.patched])).toEqual([
      [0n, false],
      [0n, false],
    ]);
    // post_patch and its opposites are for those that were patched.
    expect(callbacks).toEqual(['pre_patch']);
    const funcs = [...world.livepatch.patching.allOps()].flatMap((ops) =>
      world.livepatch.patching.funcStack(ops),
    );
    expect(funcs.map((func) => func.oldName)).toEqual(['meminfo_proc_show']);
    expect(
      targets()
        .flatMap((object) => object.funcs().map((func) => func.patched))
        .includes(true),
    ).toBe(false);
    expect(world.core.slab.used()).toBe(heap);
    expect(told).toEqual([
      ['apply', 'klpdemo_patch_target', 'klpdemo_target'],
      ['apply', 'klpdemo_patch_both', 'klpdemo_target'],
      ['revert', 'klpdemo_patch_target', 'klpdemo_target'],
    ]);
    expect(world.klpLog.slice(-4)).toEqual([
      "applying patch 'klpdemo_patch_both' to loading module 'klpdemo_target'",
      "pre-patch callback failed for object 'klpdemo_target'",
      "patch 'klpdemo_patch_both' failed for module 'klpdemo_target', refusing to load module 'klpdemo_target'",
      "reverting patch 'klpdemo_patch_target' on unloading module 'klpdemo_target'",
    ]);
  });
});
