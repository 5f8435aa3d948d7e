// Bundles on real modules, section by section of bundle.md.

import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { BundleError } from '../../src/bundle/error.ts';
import { readBundle, sha256 } from '../../src/bundle/format.ts';
import { readTar, writeTar } from '../../src/bundle/tar.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { rest } from './state.ts';
import { bundleOf, ENABLE, ko, SECOND, World } from './world.ts';

const V1 = ['p1_vmlinux', 'p1_core', 'p1_mid'];

let w: World;
beforeEach(async () => {
  w = await World.boot();
});
afterEach(() => w.machine.close());

/** A task that keeps the transition of p1_load from ending: it stands in the function that is patched. */
describe('bundle.md 1: the consistency model is synchronous with modules', () => {
  it('lets a load that meets a transition wait on the gate, and its stack shows it', () => {
    w.insmod('asker'); // sleeps in klpbundle_asker_step()
    expect(w.enable(bundleOf('slow', ['p1_asker']))).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
    const task = w.startInsmod('mid');
    const waiting = () => w.machine.inspect.bundles?.gate.why(task) !== undefined;
    expect(w.machine.runUntil(waiting, SECOND)).toBe(true);
    expect(w.machine.inspect.bundles?.gate.why(task)).toBe("waits on the gate for the transition of 'slow'");
    expect(w.machine.runUntil(() => w.machine.stack(task)[0]?.includes('klp_gate_lock'), SECOND)).toBe(true);
    expect(w.machine.stack(task).join()).toContain('__do_sys_finit_module');
    w.wait(task);
    expect(
      w.gate.some(
        (e) => e.what === 'load' && e.pid === w.machine.inspect.users.pidOf(task) && e.waitedNs > 0,
      ),
    ).toBe(true);
  });

  it('refuses a non-blocking unload with -EBUSY at once', () => {
    w.insmod('core');
    w.insmod('asker');
    w.enable(bundleOf('slow', ['p1_asker']));
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
    expect(w.rmmod('core')).toBe(UAPI.EBUSY);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
  });

  it('makes a transition wait for loads under way, and a nested load belongs to its parent', () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    const parent = w.startInsmod('nested');
    w.machine.runUntil(() => w.modules().includes('klpbundle_nested'), SECOND);
    const enable = w.startEnable(bundleOf('v1', V1));
    const waiting = () => w.machine.inspect.bundles?.gate.why(enable) !== undefined;
    expect(w.machine.runUntil(waiting, SECOND)).toBe(true);
    expect(w.machine.inspect.bundles?.gate.why(enable)).toContain('loads under way: insmod');
    expect(w.wait(parent)).toBe(0);
    expect(w.has('klpbundle_nested: request_module returned 0')).toBe(true);
    expect(w.wait(enable)).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.says('core')).toBe(100);
  });

  it('finds a module that a module asks for packed, too, and tells of one that cannot be unpacked', () => {
    const packed = gzipSync(ko('core'));
    w.machine.addFile('/lib/modules/klpbundle-core.ko.gz', packed.subarray(0, 1000));
    expect(w.wait(w.startInsmod('nested'))).toBe(0);
    expect(w.has(`klpbundle_nested: request_module returned -${UAPI.ENOEXEC}`)).toBe(true);
    expect(w.modules()).not.toContain('klpbundle_core');
    expect(w.rmmod('nested')).toBe(0);
    w.machine.addFile('/lib/modules/klpbundle-core.ko.gz', packed);
    expect(w.wait(w.startInsmod('nested'))).toBe(0);
    expect(w.has('klpbundle_nested: request_module returned 0')).toBe(true);
    expect(w.modules()).toContain('klpbundle_core');
  });

  it('restarts a load whose own stack holds what the transition waits for', () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    const parent = w.startInsmod('nested'); // 200 ms in its init
    w.machine.runUntil(() => w.modules().includes('klpbundle_nested'), SECOND);
    const enable = w.startEnable(bundleOf('load', ['p1_load']));
    w.machine.runUntil(() => w.machine.inspect.bundles?.gate.why(enable) !== undefined, SECOND);
    const blocked = w.startInsmod('mid');
    w.machine.runUntil(() => w.machine.inspect.bundles?.gate.why(blocked) !== undefined, SECOND);
    w.wait(parent);
    expect(w.wait(enable)).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('load');
    // The fake signal takes it to the kernel exit; the call starts again, in the replacement.
    expect(w.wait(blocked)).toBe(UAPI.ENOSYS);
    expect(w.settled()).toBe(true);
    expect(w.has('signaling remaining tasks')).toBe(true);
    expect(w.gate.some((e) => e.pid === w.machine.inspect.users.pidOf(blocked) && e.result === -512)).toBe(
      true,
    );
  });

  it('reports a thread that asks for a module in a function that the transition waits for, with both stacks', () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    w.insmod('asker');
    w.enable(bundleOf('slow', ['p1_asker']));
    expect(w.settled()).toBe(true);
    expect(
      w.has(/deadlock: klpbundle_asker.* waits for the transition of 'slow'.*klpbundle_asker_step/),
    ).toBe(true);
    expect(w.has(/stack of klpbundle_asker/)).toBe(true);
    expect(w.has(/klp_gate_lock/)).toBe(true);
    expect(w.has("stack that began the transition of 'slow'")).toBe(true);
    expect(w.has(`klpbundle_asker: request_module returned -${UAPI.EDEADLK}`)).toBe(true);
  });
});

describe('bundle.md 3: what fails is undone', () => {
  it('tells ENOENT of a bundle that is not there, and says nothing', () => {
    const lines = w.machine.dmesg().length;
    expect(w.wait(w.machine.spawn('echo', ['/lib/none.klpb', ENABLE]))).toBe(UAPI.ENOENT);
    expect(w.machine.dmesg()).toHaveLength(lines);
  });

  it('has no member behind one that could not be registered', () => {
    w.insmod('core');
    w.insmod('mid');
    const before = rest(w);
    const { faults } = w.machine.inspect.core;
    const fault = faults.arm({ point: 'klp_register_member', of: 'klpbundle_p1_mid' });
    expect(w.enable(bundleOf('v1', V1))).toBe(UAPI.EINVAL);
    expect(fault.injected).toEqual(['klp_register_member of klpbundle_p1_mid']);
    expect(rest(w)).toEqual(before);
    faults.disarm(fault);
    expect(w.enable(bundleOf('v1', V1))).toBe(0);
  });
});

describe('bundle.md 1: a wait that can never end', () => {
  const reported = (): void => {
    expect(
      w.has(/deadlock: klpbundle_asker.* waits for the transition of 'slow'.*klpbundle_asker_step/),
    ).toBe(true);
    expect(w.has(/stack of klpbundle_asker/)).toBe(true);
    expect(w.has("stack that began the transition of 'slow'")).toBe(true);
    expect(w.has(`klpbundle_asker: request_module returned -${UAPI.EDEADLK}`)).toBe(true);
  };

  it('is reported at once also where the thread came before the transition', () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    w.insmod('asker'); // asks for it after 500 ms
    w.machine.runFor(0.4 * SECOND);
    w.startInsmod('nested'); // 200 ms in its init
    w.machine.runUntil(() => w.modules().includes('klpbundle_nested'), SECOND);
    const enable = w.startEnable(bundleOf('slow', ['p1_asker']));
    const names = () => w.machine.inspect.bundles?.gate.waits.map(({ task }) => task.comm) ?? [];
    expect(w.machine.runUntil(() => names().includes('klpbundle_asker'), SECOND)).toBe(true);
    // Nothing is wrong yet: the transition has not begun.
    expect(names()).toEqual(['echo', 'klpbundle_asker']);
    expect(w.has(/deadlock/)).toBe(false);
    expect(w.wait(enable)).toBe(0);
    expect(w.machine.runUntil(() => w.has(/asker: request_module returned/), SECOND / 100)).toBe(true);
    reported();
    expect(w.settled()).toBe(true);
  });
});

describe('bundle.md 2: one object a patch module', () => {
  it('refuses a patch whose object is not loaded, and says which', () => {
    expect(w.insmod('p1_mid')).toBe(UAPI.EINVAL);
    expect(w.has("its object 'klpbundle_mid' is not loaded")).toBe(true);
    expect(w.modules()).toEqual([]);
  });

  it('resolves livepatch relocations in the one ordinary pass', () => {
    expect(w.insmod('core')).toBe(0);
    expect(w.insmod('p1_core')).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.says('core')).toBe(100); // klpbundle_core_hidden(0) + 99
    // A patch without a blob keeps its target.
    expect(w.rmmod('core')).toBe(UAPI.EAGAIN);
  });
});

describe('bundle.md 3: loading a bundle', () => {
  it('patches loaded objects in one transition and keeps the rest as blobs', () => {
    w.insmod('core');
    expect(w.enable(bundleOf('v1', V1))).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.cat('/proc/cmdline')).toContain('livepatched');
    expect(w.says('core')).toBe(100);
    const dir = '/sys/kernel/livepatch/v1';
    expect(w.machine.inspect.fs.list(dir)?.sort()).toEqual(
      [
        'enabled',
        'force',
        'klpbundle_core',
        'klpbundle_mid',
        'replace',
        'stack_order',
        'transition',
        'vmlinux',
      ].sort(),
    );
    expect(w.cat(`${dir}/klpbundle_mid/blob`).trim()).toBe(String(ko('p1_mid').length));
    expect(w.cat(`${dir}/klpbundle_core/patched`).trim()).toBe('1');
    expect(w.cat(`${dir}/stack_order`).trim()).toBe('1');
    expect(w.machine.inspect.bundles?.blobBytes(true)).toBe(ko('p1_mid').length);
  });

  it('disables as one and leaves nothing', () => {
    w.insmod('core');
    const used = w.machine.inspect.core.slab.used();
    w.enable(bundleOf('v1', V1));
    w.settled();
    expect(w.write('v1', 'enabled', '0')).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.freed('v1')).toBe(true);
    expect(w.says('core')).toBe(1);
    expect(w.modules()).toEqual(['klpbundle_core']);
    expect(w.machine.inspect.bundles?.blobBytes()).toBe(0);
    expect(w.machine.inspect.core.slab.used() - used).toBeLessThan(16384); // kworkers' structures may have come
  });

  it('replaces with another set of objects in one transition', () => {
    for (const name of ['core', 'mid', 'top']) expect(w.insmod(name)).toBe(0);
    w.enable(bundleOf('v1', V1));
    w.settled();
    expect([w.says('core'), w.says('mid'), w.says('top')]).toEqual([100, 100, 101]);
    expect(w.enable(bundleOf('v2', ['p2_core', 'p2_top'], { replace: true, version: '2' }))).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.freed('v1')).toBe(true);
    expect([w.says('core'), w.says('mid'), w.says('top')]).toEqual([200, 201, 200]);
    expect(w.cat('/proc/cmdline')).not.toContain('livepatched');
    expect(w.machine.inspect.fs.list('/sys/kernel/livepatch')).toEqual(['v2']);
  });

  it('can be reversed and forced', () => {
    w.insmod('asker');
    w.enable(bundleOf('slow', ['p1_asker']));
    expect(w.write('slow', 'enabled', '0')).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.freed('slow')).toBe(true);
    w.rmmod('asker');
    w.insmod('asker');
    w.enable(bundleOf('slow', ['p1_asker']));
    expect(w.write('slow', 'force', '1')).toBe(0);
    expect(w.machine.runUntil(() => !w.machine.inspect.livepatch.transitionPatch, 3 * SECOND)).toBe(true);
    expect(w.write('slow', 'enabled', '0')).toBe(0);
  });

  it.each([
    ['bad_reloc', /klpbundle_bad_reloc.*klpbundle_mid_missing/],
    ['bad_callback', /pre-patch callback failed for object 'klpbundle_mid'/],
  ])('undoes everything when member %s fails', (bad, line) => {
    w.insmod('core');
    w.insmod('mid');
    const before = {
      blobs: w.machine.inspect.bundles?.blobBytes(),
      modules: w.modules(),
      core: w.says('core'),
    };
    expect(w.enable(bundleOf('v1', ['p1_vmlinux', 'p1_core', bad]))).not.toBe(0);
    expect(w.has(line)).toBe(true);
    expect(w.machine.inspect.fs.list('/sys/kernel/livepatch')).toEqual([]);
    const after = {
      blobs: w.machine.inspect.bundles?.blobBytes(),
      modules: w.modules(),
      core: w.says('core'),
    };
    expect(after).toEqual(before);
    expect(w.machine.inspect.bundles?.gate.held).toBe(false);
  });
});

describe('bundle.md 4: a module comes', () => {
  it('runs init patched, and exit too, and the member goes back to its blob', () => {
    w.enable(bundleOf('v1', V1));
    w.settled();
    expect(w.insmod('core')).toBe(0);
    expect(w.has('klpbundle_core: init says 100')).toBe(true);
    expect(w.modules()).toEqual(['klpbundle_core', 'klpbundle_p1_core', 'klpbundle_p1_vmlinux']);
    expect(w.rmmod('core')).toBe(0);
    expect(w.has('klpbundle_core: exit says 100')).toBe(true);
    expect(w.modules()).toEqual(['klpbundle_p1_vmlinux']);
    expect(w.cat('/sys/kernel/livepatch/v1/klpbundle_core/blob').trim()).toBe(String(ko('p1_core').length));
    expect(w.insmod('core')).toBe(0);
    expect(w.says('core')).toBe(100);
  });

  it('sends the member back when init of the target fails', () => {
    w.enable(bundleOf('v1', V1));
    w.settled();
    const used = w.machine.inspect.moduleArena.used();
    expect(w.insmod('core', 'init_ret=-19')).toBe(UAPI.ENODEV);
    expect(w.modules()).toEqual(['klpbundle_p1_vmlinux']);
    expect(w.machine.inspect.moduleArena.used()).toBe(used);
  });

  it.each(['bad_reloc', 'bad_callback'])('refuses the target when its member %s fails', (bad) => {
    w.insmod('core');
    w.enable(bundleOf('v1', ['p1_vmlinux', 'p1_core', bad]));
    w.settled();
    const used = w.machine.inspect.moduleArena.used();
    const heap = w.machine.inspect.core.slab.used();
    expect(w.insmod('mid')).not.toBe(0);
    expect(w.has(/klpbundle_mid: init says/)).toBe(false);
    expect(w.modules()).not.toContain('klpbundle_mid');
    expect(w.machine.inspect.moduleArena.used()).toBe(used);
    w.machine.runFor(10e6); // the dead tool's stack is left
    expect(w.machine.inspect.core.slab.used()).toBe(heap);
  });

  it('brings the members of two bundles, the oldest first', () => {
    w.enable(bundleOf('v1', ['p1_core']));
    w.settled();
    w.enable(bundleOf('v2', ['p2_core'], { version: '2' }));
    w.settled();
    expect(w.insmod('core')).toBe(0);
    expect(w.has('klpbundle_core: init says 200')).toBe(true);
    w.write('v2', 'enabled', '0');
    w.settled();
    expect(w.says('core')).toBe(100);
  });
});

describe('bundle.md, words: the file format', () => {
  const files = () => readTar(bundleOf('v1', ['p1_core', 'p1_mid']));
  const refused = (bytes: Uint8Array): string => {
    try {
      readBundle(bytes, X86_64.elf);
    } catch (error) {
      if (error instanceof BundleError) return error.message;
      throw error;
    }
    return 'taken';
  };
  const withManifest = (change: (manifest: ReturnType<typeof JSON.parse>) => void): Uint8Array => {
    const [first, ...rest] = files();
    const manifest = JSON.parse(Buffer.from(first.bytes).toString());
    change(manifest);
    return writeTar([
      { name: first.name, bytes: new Uint8Array(Buffer.from(JSON.stringify(manifest))) },
      ...rest,
    ]);
  };

  it('refuses a corrupted hash, a cut tar, an unknown field, two members for one object, two objects a patch', () => {
    expect(refused(withManifest((m) => (m.members[0].sha256 = '0'.repeat(64))))).toContain('SHA-256');
    expect(refused(bundleOf('v1', ['p1_core']).subarray(0, 3000))).toContain('cut short');
    expect(refused(withManifest((m) => (m.colour = 'blue')))).toContain("unknown field 'colour'");
    expect(refused(withManifest((m) => (m.members[1].object = m.members[0].object)))).toContain(
      'are both for object',
    );
    expect(refused(withManifest((m) => (m.members[1].object = 'other')))).toContain(
      'is for object klpbundle_mid',
    );
  });

  it('refuses a bundle for another version of a loaded target', () => {
    w.insmod('core');
    const bytes = withManifest((m) => (m.members[0].srcversion = 'ABC'));
    expect(w.enable(bytes)).toBe(UAPI.EINVAL);
    expect(w.has('of srcversion ABC')).toBe(true);
    expect(w.modules()).toEqual(['klpbundle_core']);
  });

  it('says in the manifest what the files are', () => {
    const { members } = readBundle(bundleOf('v1', V1), X86_64.elf);
    expect(members.map((m) => m.object)).toEqual(['vmlinux', 'klpbundle_core', 'klpbundle_mid']);
    expect(members[1].sha256).toBe(sha256(ko('p1_core')));
  });
});
