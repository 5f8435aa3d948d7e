// What the livepatch core does and says where ftrace refuses: a filter, a registration, and all when it is off for good.

import { beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { World } from '../ftrace/world.ts';

const C = BUILT_IN.constants;
const PATCH = 'klpdemo_patch_vmlinux';

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

const errors = () => world.klpLog.filter((line) => line.startsWith('failed'));
const isPatched = () => world.livepatch.patching.findOps(world.sym('cmdline_proc_show')) !== undefined;

describe('a function that ftrace does not let be patched', () => {
  it('for want of memory for its filter: the patch is refused, and the next one comes', () => {
    const { slab } = world.core;
    const tryAlloc = slab.tryAlloc.bind(slab);
    const used = slab.used();
    slab.tryAlloc = (size, owner) => (owner === 'ftrace_func_entry' ? 0n : tryAlloc(size, owner));
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'ENOMEM' });
    slab.tryAlloc = tryAlloc;
    expect(errors()).toEqual([
      "failed to set ftrace filter for function 'cmdline_proc_show' (-12)",
      "failed to patch object 'vmlinux'",
      `failed to enable patch '${PATCH}'`,
    ]);
    expect([isPatched(), slab.used()]).toEqual([false, used]);
    expect(world.load(PATCH)).toMatchObject({ ok: true });
  });

  it('because another redirects it: the patch is refused, and comes when that is gone', () => {
    const other = world.ftrace.ops(world.core.slab.alloc(BUILT_IN.structs.ftrace_ops.size, 'test ops'));
    other.func = world.sym('ftrace_stub');
    other.flags = C.FTRACE_OPS_FL_IPMODIFY;
    world.run(world.ftrace.setFilterIp(other.addr, world.sym('cmdline_proc_show'), false));
    world.run(world.ftrace.registerFunction(other.addr));
    const used = world.core.slab.used();
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'EBUSY' });
    expect(errors()[0]).toBe("failed to register ftrace handler for function 'cmdline_proc_show' (-16)");
    expect([isPatched(), world.core.slab.used()]).toEqual([false, used]);
    world.run(world.ftrace.unregisterFunction(other.addr));
    expect(world.load(PATCH)).toMatchObject({ ok: true });
  });
});

describe('a patch that is disabled after ftrace has turned itself off', () => {
  it('warns of the ops that it cannot unregister and of the filter that it cannot empty, and is gone', () => {
    const args: unknown[] = [];
    world.guest.set('__klp_unpatch_object', ([which]) => void args.push(which));
    world.load(PATCH);
    world.ftrace.disabled = true;
    world.echo('0', `/kernel/livepatch/${PATCH}/enabled`);
    expect(args).toEqual([0, 1]);
    expect([isPatched(), world.livepatch.patches()]).toEqual([false, []]);
  });

  it('warns of neither where ftrace works', () => {
    world.load(PATCH);
    world.echo('0', `/kernel/livepatch/${PATCH}/enabled`);
    expect(world.calls).not.toContain('__klp_unpatch_object');
  });
});

describe('/sys/kernel/debug/dynamic_debug/control', () => {
  it('has the lines of livepatch that 6.1 has, where it has them', () => {
    const lines = [
      'kernel/livepatch/transition.c:75 [livepatch]klp_complete_transition =p "\'%s\': completing %s transition\\n"',
      'kernel/livepatch/transition.c:148 [livepatch]klp_cancel_transition =p "\'%s\': canceling patching transition, going to unpatch\\n"',
      'kernel/livepatch/transition.c:316 [livepatch]klp_try_switch_task =p "%s: %s:%d is running\\n"',
      'kernel/livepatch/transition.c:320 [livepatch]klp_try_switch_task =p "%s: %s:%d has an unreliable stack\\n"',
      'kernel/livepatch/transition.c:324 [livepatch]klp_try_switch_task =p "%s: %s:%d is sleeping on function %s\\n"',
      'kernel/livepatch/transition.c:329 [livepatch]klp_try_switch_task =p "%s: Unknown error code (%d) when trying to switch %s:%d\\n"',
      'kernel/livepatch/transition.c:521 [livepatch]klp_init_transition =p "\'%s\': initializing %s transition\\n"',
      'kernel/livepatch/transition.c:582 [livepatch]klp_reverse_transition =p "\'%s\': reversing transition from %s\\n"',
    ];
    expect(world.livepatch.dynamicDebug.control().trimEnd().split('\n').slice(1)).toEqual(lines);
  });
});
