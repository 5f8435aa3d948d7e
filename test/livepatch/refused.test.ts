// What the livepatch core refuses, in its words, and what it warns of because it cannot be.

import { beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import type { KlpPatch } from '../../src/livepatch/structs.ts';
import { World } from '../ftrace/world.ts';

const C = BUILT_IN.constants;
const { module, klp_object } = BUILT_IN.structs;
const PATCH = 'klpdemo_patch_vmlinux';
const DIR = `/kernel/livepatch/${PATCH}`;

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

const warnings = () => world.dmesg.filter((line) => line.startsWith('WARNING: at kernel/livepatch/'));
const warned = () => (world.core.taints & (1 << C.TAINT_WARN)) !== 0;
const mod = (name: string) => world.loader.modules.find(name)?.addr ?? 0n;
const host = (name: string, ...args: bigint[]) => world.core.host.get(name)?.(world.call(...args)) as never;
const write = (addr: bigint, value: bigint) => world.core.mem.writeU64(addr, value);

describe('klp_enable_patch', () => {
  it('takes no patch of NULL', () => {
    expect(world.run(host('klp_enable_patch', 0n))).toBe(BigInt.asUintN(64, -BigInt(UAPI.EINVAL)));
  });

  const without: [string, (patch: KlpPatch) => void][] = [
    [
      'a module',
      (patch) => {
        patch.modPointer = 0n;
      },
    ],
    [
      'objects',
      (patch) => {
        patch.objsPointer = 0n;
      },
    ],
    [
      'functions of an object',
      (patch) => {
        const [object] = patch.staticObjects();
        object.namePointer = world.sym('ftrace_stub');
        write(object.addr + BigInt(klp_object.fields.funcs), 0n);
      },
    ],
  ];
  it.each(without)('takes none without %s, and says nothing', (_, change) => {
    world.beforeEnable = change;
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog).toEqual([]);
  });

  it('takes none of a module that is not marked', () => {
    world.beforeEnable = (patch) => world.core.mem.writeU8(patch.mod + BigInt(module.fields.klp), 0);
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog).toEqual([`module ${PATCH} is not marked as a livepatch module`]);
  });

  it('takes none of a module that goes', () => {
    world.beforeEnable = (patch) => {
      const found = world.loader.modules.byAddr(patch.mod);
      if (found) found.state = 'GOING';
    };
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'ENODEV' });
    expect(world.klpLog).toEqual([]);
    expect(world.node(DIR)).toBeUndefined();
  });

  it('takes none whose object or function has a name that is too long, or a function none at all', () => {
    const long = (length: number) => {
      const at = world.core.slab.alloc(length + 1, 'name');
      world.core.mem.writeCString(at, 'x'.repeat(length));
      return at;
    };
    const changes: ((patch: KlpPatch) => void)[] = [
      (patch) => {
        patch.staticObjects()[0].namePointer = long(C.MODULE_NAME_LEN);
      },
      (patch) => {
        patch.staticObjects()[0].staticFuncs()[0].oldNamePointer = long(C.KSYM_NAME_LEN);
      },
      (patch) => {
        patch.staticObjects()[0].staticFuncs()[0].oldNamePointer = 0n;
      },
      (patch) => {
        patch.staticObjects()[0].staticFuncs()[0].newFunc = 0n;
      },
    ];
    for (const change of changes) {
      world.beforeEnable = (patch) => {
        // Without a position the function would end the list.
        patch.staticObjects()[0].staticFuncs()[0].oldSympos = 1n;
        change(patch);
      };
      expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'EINVAL' });
      expect(world.klpLog).toEqual([]);
      expect(world.node(DIR)).toBeUndefined();
    }
  });

  it('needs to know how long a function is, and the one in its place', () => {
    const taken = new Set<bigint>();
    const { symbols } = world.core;
    const sizeAndOffset = symbols.sizeAndOffset.bind(symbols);
    symbols.sizeAndOffset = (addr) => (taken.has(addr) ? undefined : sizeAndOffset(addr));
    taken.add(world.sym('cmdline_proc_show'));
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'ENOENT' });
    expect(world.klpLog).toEqual(["kallsyms size lookup failed for 'cmdline_proc_show'"]);
    world.beforeEnable = (patch) => {
      taken.clear();
      taken.add(patch.staticObjects()[0].staticFuncs()[0].newFunc);
    };
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'ENOENT' });
    expect(world.klpLog.at(-1)).toBe("kallsyms size lookup failed for 'cmdline_proc_show' replacement");
  });

  it('counts positions from 1 and says which it has not found', () => {
    world.load('klpdemo_target');
    const position = (sympos: bigint) => {
      world.beforeEnable = (patch) => {
        for (const object of patch.staticObjects())
          for (const func of object.staticFuncs()) func.oldSympos = sympos;
      };
    };
    position(3n);
    expect(world.load('klpdemo_patch_sympos')).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog).toEqual([
      "symbol position 3 for symbol 'klpdemo_twin' in object 'klpdemo_target' not found",
    ]);
    position(2n);
    expect(world.load(PATCH)).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog.at(-1)).toBe(
      "symbol position 2 for symbol 'cmdline_proc_show' in object 'vmlinux' not found",
    );
    position(0n);
    expect(world.load('klpdemo_patch_sympos')).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog.at(-1)).toBe(
      "unresolvable ambiguity for symbol 'klpdemo_twin' in object 'klpdemo_target'",
    );
  });

  it('takes none back that has been disabled', () => {
    world.load(PATCH);
    const [patch] = world.livepatch.patches();
    patch.enabled = false;
    expect(world.echo('1', `${DIR}/enabled`)).toBe(-UAPI.EINVAL);
  });
});

describe('a module that a patch cannot be applied to', () => {
  it.each([
    ['klpdemo_bad_ambiguous', "unresolvable ambiguity for symbol 'klpdemo_twin' in object 'klpdemo_target'"],
    ['klpdemo_bad_missing', expect.stringContaining('not found in symbol table') as unknown as string],
  ])('is refused for the names of %s', (patch, why) => {
    expect(world.load(patch)).toMatchObject({ ok: true });
    const begun = world.klpLog.length;
    expect(world.load('klpdemo_target')).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog.slice(begun)).toEqual([
      why,
      `failed to initialize patch '${patch}' for module 'klpdemo_target' (-22)`,
      `patch '${patch}' failed for module 'klpdemo_target', refusing to load module 'klpdemo_target'`,
    ]);
  });

  it('is refused for a function without an fentry site, and the object told that it is not patched', () => {
    world.beforeEnable = (patch) => {
      const [object] = patch.staticObjects();
      write(object.addr + BigInt(klp_object.fields.callbacks_post_unpatch), world.sym('meminfo_proc_show'));
    };
    expect(world.load('klpdemo_bad_notrace')).toMatchObject({ ok: true });
    const begun = world.klpLog.length;
    world.calls.length = 0;
    expect(world.load('klpdemo_target')).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(world.klpLog.slice(begun)).toEqual([
      "applying patch 'klpdemo_bad_notrace' to loading module 'klpdemo_target'",
      expect.stringMatching(/^failed to find location for function '/),
      "failed to apply patch 'klpdemo_bad_notrace' to module 'klpdemo_target' (-22)",
      "patch 'klpdemo_bad_notrace' failed for module 'klpdemo_target', refusing to load module 'klpdemo_target'",
    ]);
    expect(world.calls.filter((name) => name === 'meminfo_proc_show')).toHaveLength(1);
  });

  it('is refused when it calls itself vmlinux', () => {
    world.load('klpdemo_target');
    const addr = mod('klpdemo_target');
    const found = world.loader.modules.byAddr(addr);
    if (found) found.state = 'COMING';
    world.core.mem.writeCString(addr + BigInt(module.fields.name), 'vmlinux');
    expect(world.run(world.livepatch.moduleComing(addr))).toBe(-UAPI.EINVAL);
    expect(world.klpLog).toEqual(['vmlinux.ko: invalid module name']);
    expect(warnings()).toEqual([]);
  });
});

describe('what cannot be', () => {
  it('is warned of once, and taints: a module that comes or goes in another state', () => {
    world.load('klpdemo_target');
    const told: string[] = [];
    world.core.events.subscribe((e) => told.push(e.type), ['klp_module']);
    const addr = mod('klpdemo_target');
    for (let i = 0; i < 2; i++) {
      expect(world.run(world.livepatch.moduleComing(addr))).toBe(-UAPI.EINVAL);
      expect(warnings()).toEqual(['WARNING: at kernel/livepatch/core.c klp_module_coming']);
    }
    expect(warned()).toBe(true);
    world.core.taints = 0;
    world.run(world.livepatch.moduleGoing(addr));
    expect(warnings().slice(1)).toEqual(['WARNING: at kernel/livepatch/core.c klp_module_going']);
    expect(warned()).toBe(true);
    // Nothing was done.
    expect(told).toEqual([]);
  });

  it('a patch that is enabled twice, or disabled twice', () => {
    world.load(PATCH);
    const [patch] = world.livepatch.patches();
    expect(world.run(world.livepatch.enableLocked(patch, world.call()))).toBe(-UAPI.EINVAL);
    patch.enabled = false;
    expect(world.run(world.livepatch.disableLocked(patch, world.call()))).toBe(-UAPI.EINVAL);
    expect(warnings()).toEqual([
      'WARNING: at kernel/livepatch/core.c __klp_enable_patch',
      'WARNING: at kernel/livepatch/core.c __klp_disable_patch',
    ]);
    expect(world.livepatch.transitionPatch).toBeUndefined();
  });

  it('an object or a function that is patched already, or a function without an address', () => {
    world.load(PATCH);
    const { patching } = world.livepatch;
    const [object] = world.livepatch.patches()[0].objects();
    const [func] = object.funcs();
    const patch = () => world.run(patching.patchObject(object));
    expect(patch()).toBe(-UAPI.EINVAL);
    object.patched = false;
    const { oldFunc } = func;
    // What it has of others is undone, here by what it finds itself: nothing of that address.
    func.oldFunc = 0n;
    expect(patch()).toBe(-UAPI.EINVAL);
    func.oldFunc = oldFunc;
    expect(warnings()).toEqual([
      'WARNING: at kernel/livepatch/patch.c klp_patch_object',
      'WARNING: at kernel/livepatch/patch.c klp_patch_func: no old_func',
      'WARNING: at kernel/livepatch/patch.c klp_unpatch_func: no ops',
    ]);
    expect(func.patched).toBe(true);
    expect(patch()).toBe(-UAPI.EINVAL);
    expect(warnings().slice(3)).toEqual(['WARNING: at kernel/livepatch/patch.c klp_patch_func: patched']);
    expect(func.patched).toBe(false);
  });

  it('a transition that begins in another, or from another state', () => {
    const { transition } = world.livepatch;
    world.load(PATCH);
    const [patch] = world.livepatch.patches();
    world.task(2).patchState = C.KLP_PATCHED;
    transition.init(patch, C.KLP_PATCHED);
    expect(warnings()).toEqual([
      'WARNING: at kernel/livepatch/transition.c klp_init_transition: patch_state',
    ]);
    expect([1, 2, 3].map((pid) => world.task(pid).patchState)).toEqual(Array(3).fill(C.KLP_UNPATCHED));
    for (const pid of [1, 2, 3]) world.task(pid).patchState = C.KLP_UNDEFINED;
    for (const idle of world.core.tasks.idle) idle.patchState = C.KLP_UNDEFINED;
    transition.init(patch, C.KLP_UNPATCHED);
    expect(warnings().slice(1)).toEqual(['WARNING: at kernel/livepatch/transition.c klp_init_transition']);
    expect([1, 2, 3].map((pid) => world.task(pid).patchState)).toEqual(Array(3).fill(C.KLP_PATCHED));
    world.run(transition.cancel());
    expect(warnings().slice(2)).toEqual(['WARNING: at kernel/livepatch/transition.c klp_cancel_transition']);
    expect(world.livepatch.transitionPatch?.addr).toBe(patch.addr);
  });

  it('one that starts or is tried with no target', () => {
    const { transition } = world.livepatch;
    world.run(transition.start());
    world.run(transition.tryComplete(world.call()));
    expect(warnings()).toEqual([
      'WARNING: at kernel/livepatch/transition.c klp_start_transition',
      'WARNING: at kernel/livepatch/transition.c klp_try_complete_transition',
    ]);
    expect(world.queued).toEqual([]);
  });

  it('one that ends with a task that is still asked to switch', () => {
    world.running.add(world.core.tasks.idle[1]);
    world.load(PATCH);
    world.task(1).setTif('TIF_PATCH_PENDING');
    world.running.clear();
    world.work();
    expect(warnings()).toEqual(['WARNING: at kernel/livepatch/transition.c klp_complete_transition']);
    expect(world.livepatch.transitionPatch).toBeUndefined();
  });

  it('what the handler of ftrace finds', () => {
    for (const which of [0n, 1n, 2n]) host('klp_handler_warn', which);
    expect(warnings().map((line) => line.replace(/.*klp_ftrace_handler: /, ''))).toEqual([
      'recursion',
      'empty func_stack',
      'KLP_UNDEFINED',
    ]);
  });
});

describe('what an atomic replace makes up for functions that it takes away', () => {
  it('has names of its own, each as long as it is', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    world.load(PATCH);
    world.running.add(world.core.tasks.idle[1]);
    const before = new Set(world.core.slab.live().map(({ addr }) => addr));
    world.replacing();
    world.load('klpdemo_patch_both');
    const made = world.core.slab.live().filter(({ addr }) => !before.has(addr));
    const names = made.filter(({ owner }) => owner === 'klp name');
    expect(names.length).toBeGreaterThan(0);
    for (const { addr, size } of names) expect(world.core.mem.readCString(addr).length + 1).toBe(size);
  });
});

describe('a write to enabled while another patch is in transition', () => {
  it('disables nothing', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    world.running.add(world.core.tasks.idle[1]);
    world.load(PATCH);
    expect(world.echo('0', '/kernel/livepatch/klpdemo_patch_target/enabled')).toBe(-UAPI.EBUSY);
    expect(world.cat('/kernel/livepatch/klpdemo_patch_target/enabled')).toBe('1\n');
    expect(world.cat('/kernel/livepatch/klpdemo_patch_target/transition')).toBe('0\n');
    expect(world.echo('1', '/kernel/livepatch/klpdemo_patch_target/force')).toBe(-UAPI.EINVAL);
    expect(world.klpLog.at(-1)).toBe('klp_try_switch_task: swapper/1:0 is running');
  });
});

describe("the kernel's own model", () => {
  it('keeps nobody waiting, pauses no module, and has no bundles to join', () => {
    const { model } = world.livepatch;
    expect(model.tryGate(world.call())).toBe(1);
    expect(model.pausing('finit_module')).toBe(-UAPI.EINVAL);
    expect(model.pausing('module_unpause')).toBe(-UAPI.ENOSYS);
    expect(model.mayUnpause({} as never)).toBe(-UAPI.EINVAL);
    expect(model.joins({} as never, {} as never, {} as never)).toBe(-UAPI.EINVAL);
    expect(model.breaksRecursion('x')).toBe(false);
    expect([model.pausesComing, model.resolvesAtLoad, model.livepatchesKeepNone]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('finds a module by its name between its coming and its going', () => {
    const { model, context } = world.livepatch;
    expect(model.findObjectModule('klpdemo_target')).toBeUndefined();
    world.load('klpdemo_target');
    expect(model.findObjectModule('klpdemo_target')).toBe(mod('klpdemo_target'));
    context.setModuleAlive(mod('klpdemo_target'), false);
    expect(model.findObjectModule('klpdemo_target')).toBeUndefined();
  });
});

describe('klp_find_section_by_name', () => {
  it('answers the address and stores the size; nothing and 0 where there is none', () => {
    world.load('klpdemo_target');
    const name = world.core.slab.alloc(32, 'name');
    const size = world.core.slab.alloc(8, 'size');
    const find = (section: string) => {
      world.core.mem.writeCString(name, section);
      write(size, 99n);
      const addr: unknown = host('klp_find_section_by_name', mod('klpdemo_target'), name, size);
      return [addr, world.core.mem.readU64(size)];
    };
    const text = world.loader.modules.find('klpdemo_target')?.sections.get('.text');
    expect(find('.text')).toEqual([text?.addr, BigInt(text?.size ?? 0)]);
    expect(find('.no_such_section')).toEqual([0n, 0n]);
  });
});
