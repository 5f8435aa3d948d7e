import { beforeEach, describe, expect, it } from 'vitest';
import { enabledFunctions } from '../../src/ftrace/report.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from '../ftrace/world.ts';

const C = BUILT_IN.constants;

const NOP5 = '0f 1f 44 00 00';
const SYS = '/kernel/livepatch';

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

describe('klp_enable_patch', () => {
  it('says what the real kernel says, and patches the site, when nothing is in the way', () => {
    expect(world.load('klpdemo_patch_vmlinux')).toMatchObject({ ok: true });
    expect(world.klpLog).toEqual([
      "enabling patch 'klpdemo_patch_vmlinux'",
      "'klpdemo_patch_vmlinux': initializing patching transition",
      "'klpdemo_patch_vmlinux': starting patching transition",
      "'klpdemo_patch_vmlinux': completing patching transition",
      "'klpdemo_patch_vmlinux': patching complete",
    ]);
    expect(world.bytesAt(world.sym('cmdline_proc_show'))).toMatch(/^e8/);
    const handler = world.core.sym(world.sym('klp_ftrace_handler'));
    expect(enabledFunctions(world.core, world.ftrace)).toBe(
      `cmdline_proc_show (1)   I  \ttramp: 0xffffffffc020a000 (${handler}) ->${handler}\n`,
    );
    expect(world.loader.modules.find('klpdemo_patch_vmlinux')?.refcount).toBe(1);
    for (const task of world.core.tasks.processes()) expect(task.patchState).toBe(C.KLP_UNDEFINED);
  });

  it('makes the directories and files of the reference', () => {
    world.load('klpdemo_patch_vmlinux');
    const dir = `${SYS}/klpdemo_patch_vmlinux`;
    const list = (path: string) => {
      const node = world.node(path);
      const entries = node?.kind === 'directory' ? node.entries() : [];
      return entries.map((e) => `${e.mode.toString(8)} ${e.size} ${e.name}`);
    };
    expect(list(SYS)).toEqual(['755 0 klpdemo_patch_vmlinux']);
    expect(list(dir)).toEqual(['644 4096 enabled', '200 4096 force', '444 4096 transition', '755 0 vmlinux']);
    expect(list(`${dir}/vmlinux`)).toEqual(['755 0 cmdline_proc_show,1', '444 4096 patched']);
    expect(list(`${dir}/vmlinux/cmdline_proc_show,1`)).toEqual([]);
    expect(world.cat(`${dir}/enabled`)).toBe('1\n');
    expect(world.cat(`${dir}/transition`)).toBe('0\n');
    expect(world.cat(`${dir}/vmlinux/patched`)).toBe('1\n');
  });

  it('refuses writes as the reference shows', () => {
    world.load('klpdemo_patch_vmlinux');
    const dir = `${SYS}/klpdemo_patch_vmlinux`;
    expect(world.echo('1', `${dir}/enabled`)).toBe(-UAPI.EINVAL);
    expect(world.echo('x', `${dir}/enabled`)).toBe(-UAPI.EINVAL);
    expect(world.echo('1', `${dir}/force`)).toBe(-UAPI.EINVAL);
    expect(world.echo('x', `${dir}/force`)).toBe(-UAPI.EINVAL);
    expect(world.echo('0', `${dir}/force`)).toBe(2);
    expect(world.cat(`${dir}/force`)).toBe(-UAPI.EIO);
  });

  it('leaves nothing behind once disabled and unloaded', () => {
    const before = { heap: world.core.slab.used(), area: world.area.used() };
    world.load('klpdemo_patch_vmlinux');
    expect(world.echo('0', `${SYS}/klpdemo_patch_vmlinux/enabled`)).toBe(2);
    expect(world.bytesAt(world.sym('cmdline_proc_show'))).toBe(NOP5);
    world.work();
    const root = world.node(SYS);
    expect(root?.kind === 'directory' && root.entries()).toEqual([]);
    expect(world.unload('klpdemo_patch_vmlinux')).toBe(0);
    expect({ heap: world.core.slab.used(), area: world.area.used() }).toEqual(before);
    expect(world.klpLog.slice(-4)).toEqual([
      "'klpdemo_patch_vmlinux': initializing unpatching transition",
      "'klpdemo_patch_vmlinux': starting unpatching transition",
      "'klpdemo_patch_vmlinux': completing unpatching transition",
      "'klpdemo_patch_vmlinux': unpatching complete",
    ]);
  });

  it('finds the function at the position that the patch names', () => {
    world.load('klpdemo_target');
    expect(world.load('klpdemo_patch_sympos')).toMatchObject({ ok: true });
    const twins = world.loader.modules.find('klpdemo_target')?.symbolsNamed('klpdemo_twin') ?? [];
    expect(world.bytesAt(twins[0])).toBe(NOP5);
    expect(world.bytesAt(twins[1])).toMatch(/^e8/);
  });
});

describe('a patch that cannot be enabled', () => {
  const cases: [string, string, string[]][] = [
    [
      'klpdemo_bad_ambiguous',
      'EINVAL',
      ["unresolvable ambiguity for symbol 'klpdemo_twin' in object 'klpdemo_target'"],
    ],
    [
      'klpdemo_bad_missing',
      'EINVAL',
      [expect.stringContaining('not found in symbol table') as unknown as string],
    ],
    [
      'klpdemo_bad_notrace',
      'EINVAL',
      [
        "enabling patch 'klpdemo_bad_notrace'",
        "'klpdemo_bad_notrace': initializing patching transition",
        expect.stringContaining('failed to find location for function') as unknown as string,
        "failed to patch object 'klpdemo_target'",
        "failed to enable patch 'klpdemo_bad_notrace'",
        "'klpdemo_bad_notrace': canceling patching transition, going to unpatch",
        "'klpdemo_bad_notrace': completing unpatching transition",
        "'klpdemo_bad_notrace': unpatching complete",
      ],
    ],
  ];

  it.each(cases)('%s: init fails with %s, and all is as before', (name, code, log) => {
    world.load('klpdemo_target');
    const before = { heap: world.core.slab.used(), area: world.area.used() };
    expect(world.load(name)).toMatchObject({ ok: false, code });
    expect(world.klpLog).toEqual(log);
    expect({ heap: world.core.slab.used(), area: world.area.used() }).toEqual(before);
    const root = world.node(SYS);
    expect(root?.kind === 'directory' && root.entries()).toEqual([]);
    expect(world.livepatch.patches()).toEqual([]);
    expect(world.livepatch.transitionPatch).toBeUndefined();
  });

  it('is refused by its own pre-patch callback', () => {
    world.load('klpdemo_target');
    world.returns.set('pre_patch', BigInt.asUintN(64, -19n));
    const result = world.load('klpdemo_patch_both');
    expect(result).toMatchObject({ ok: false, code: 'ENODEV' });
    expect(world.klpLog).toEqual([
      "enabling patch 'klpdemo_patch_both'",
      "'klpdemo_patch_both': initializing patching transition",
      "pre-patch callback failed for object 'vmlinux'",
      "failed to enable patch 'klpdemo_patch_both'",
      "'klpdemo_patch_both': canceling patching transition, going to unpatch",
      "'klpdemo_patch_both': completing unpatching transition",
      "'klpdemo_patch_both': unpatching complete",
    ]);
  });

  it('is canceled, which is told with the state that it goes back to', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_bad_notrace');
    const told = world.events.flatMap((e) => (e.type === 'transition' ? [`${e.what} ${e.target}`] : []));
    expect(told).toEqual(['initializing 1', 'canceling 1', 'completing 0', 'complete 0']);
  });

  it('is busy while another is in transition', () => {
    world.load('klpdemo_target');
    world.running.add(world.core.tasks.idle[1]);
    world.load('klpdemo_patch_vmlinux');
    expect(world.load('klpdemo_patch_target')).toMatchObject({ ok: false, code: 'EBUSY' });
    world.running.clear();
    world.work();
    expect(world.load('klpdemo_patch_target')).toMatchObject({ ok: true });
  });
});

describe('stacking and replacing', () => {
  const site = () => world.sym('klpdemo_target:klpdemo_round');

  it('puts a second version on the func_stack without a change of the site', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    const bytes = world.bytesAt(site());
    world.load('klpdemo_patch_both');
    expect(world.bytesAt(site())).toBe(bytes);
    const ops = world.livepatch.patching.findOps(site()) as bigint;
    const stack = world.livepatch.patching.funcStack(ops);
    expect(stack.map((f) => world.core.symbols.lookup(f.newFunc)?.module)).toEqual([
      'klpdemo_patch_both',
      'klpdemo_patch_target',
    ]);
  });

  it('replaces older patches, whose other functions go back to the original code', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_vmlinux');
    world.load('klpdemo_patch_target');
    const heap = world.core.slab.live().filter((a) => a.owner.includes('nop')).length;
    const replaced = world.livepatch.patches();
    world.replacing();
    expect(world.load('klpdemo_patch_both')).toMatchObject({ ok: true });
    world.work();
    const root = world.node(SYS);
    expect(root?.kind === 'directory' && root.entries().map((e) => e.name)).toEqual(['klpdemo_patch_both']);
    expect(world.bytesAt(world.sym('cmdline_proc_show'))).toBe(NOP5);
    expect(world.bytesAt(site())).toMatch(/^e8/);
    expect(replaced.map((patch) => patch.enabled)).toEqual([false, false]);
    expect(world.core.slab.live().filter((a) => a.owner.includes('nop')).length).toBe(heap);
    expect(world.loader.modules.find('klpdemo_patch_vmlinux')?.refcount).toBe(0);
    expect(world.unload('klpdemo_patch_vmlinux')).toBe(0);
    expect(world.unload('klpdemo_patch_target')).toBe(0);
  });

  it('names what it has not itself by copies: each has room for the whole name, and is missed where there is none', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    const { slab } = world.core;
    const tryAlloc = slab.tryAlloc.bind(slab);
    const sizes: number[] = [];
    let failing = 0;
    slab.tryAlloc = (size, owner) => {
      if (owner === 'klp name' && sizes.push(size) === failing) return 0n;
      return tryAlloc(size, owner);
    };
    const used = slab.used();
    // Of the object, and of each of its functions.
    const names = ['klpdemo_target'];
    for (const { oldName } of world.livepatch.patches()[0].objects()[0].funcs()) names.push(`${oldName}`);
    for (failing = 1; failing <= names.length; failing++) {
      sizes.length = 0;
      world.replacing();
      expect(world.load('klpdemo_patch_vmlinux')).toMatchObject({ ok: false, code: 'ENOMEM' });
      expect([sizes.length, slab.used()]).toEqual([failing, used]);
    }
    sizes.length = 0;
    expect(world.load('klpdemo_patch_vmlinux')).toMatchObject({ ok: true });
    expect(sizes).toEqual(names.map((name) => name.length + 1));
  });

  it('keeps nops on the func_stack for as long as the replacing transition lasts', () => {
    world.load('klpdemo_patch_vmlinux');
    world.running.add(world.core.tasks.idle[1]);
    world.load('klpdemo_target');
    world.replacing();
    world.load('klpdemo_patch_both');
    const ops = world.livepatch.patching.findOps(world.sym('cmdline_proc_show')) as bigint;
    const [top, below] = world.livepatch.patching.funcStack(ops);
    expect([top.nop, top.transition]).toEqual([true, true]);
    expect(top.newFunc).toBe(world.sym('cmdline_proc_show'));
    expect(below.nop).toBe(false);
    expect(world.node(`${SYS}/klpdemo_patch_both/vmlinux/cmdline_proc_show,1`)).toBeDefined();
    world.running.clear();
    world.work();
    expect(world.livepatch.patching.findOps(world.sym('cmdline_proc_show'))).toBeUndefined();
    expect(world.node(`${SYS}/klpdemo_patch_both/vmlinux/cmdline_proc_show,1`)).toBeUndefined();
  });
});

describe('modules that come and go', () => {
  it('are patched before their init runs, and unpatched after their exit', () => {
    expect(world.load('klpdemo_patch_target')).toMatchObject({ ok: true });
    const object = `${SYS}/klpdemo_patch_target/klpdemo_target`;
    expect(world.cat(`${object}/patched`)).toBe('0\n');
    let atInit = '';
    world.guest.set('klpdemo_target_init', () => {
      atInit = world.bytesAt(world.sym('klpdemo_target:klpdemo_round'));
    });
    world.load('klpdemo_target');
    expect(atInit).toMatch(/^e8/);
    expect(world.cat(`${object}/patched`)).toBe('1\n');
    expect(world.klpLog.at(-1)).toBe(
      "applying patch 'klpdemo_patch_target' to loading module 'klpdemo_target'",
    );
    expect(world.unload('klpdemo_target')).toBe(0);
    expect(world.klpLog.at(-1)).toBe(
      "reverting patch 'klpdemo_patch_target' on unloading module 'klpdemo_target'",
    );
    expect(world.cat(`${object}/patched`)).toBe('0\n');
    expect(world.area.used()).toBe(world.loader.modules.find('klpdemo_patch_target')?.size('core'));
  });

  it('are refused when a patch for them fails', () => {
    world.load('klpdemo_patch_both');
    world.guest.set('pre_patch', (args) => {
      const name = world.core.mem.readU64(BigInt(args[0]));
      return name === 0n ? 0n : BigInt.asUintN(64, -16n);
    });
    expect(world.load('klpdemo_target')).toMatchObject({ ok: false, code: 'EBUSY' });
    expect(world.klpLog.slice(-3)).toEqual([
      "applying patch 'klpdemo_patch_both' to loading module 'klpdemo_target'",
      "pre-patch callback failed for object 'klpdemo_target'",
      "patch 'klpdemo_patch_both' failed for module 'klpdemo_target', refusing to load module 'klpdemo_target'",
    ]);
    world.guest.clear();
    expect(world.load('klpdemo_target')).toMatchObject({ ok: true });
  });
});
