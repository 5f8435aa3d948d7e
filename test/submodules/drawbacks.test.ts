// What the author of the proposal named as its drawbacks, each run in its model and in that of bundles. The tables of
// docs/submodules.md are of these runs.

import { afterEach, describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { bundleOf, ko, SECOND, World } from '../bundle/world.ts';
import { SubmoduleWorld } from './world.ts';

const open: World[] = [];
afterEach(() => {
  for (const w of open.splice(0)) w.machine.close();
});
const submodules = async (): Promise<SubmoduleWorld> => {
  const w = await SubmoduleWorld.boot();
  open.push(w);
  return w;
};
const bundles = async (): Promise<World> => {
  const w = await World.boot();
  open.push(w);
  return w;
};
const SIGKILL = 9;
const PATCHED = ['p1_vmlinux', 'p1_core'];

describe('a helper in user space: which error was it?', () => {
  it('all errors of a submodule are EINVAL for who loads its object; of a member it is the error', async () => {
    const s = await submodules();
    s.insmod('core');
    s.patch('p1', ['p1_vmlinux', 'bad_callback']);
    s.settled();
    expect(s.insmod('mid')).toBe(UAPI.EINVAL);
    expect(s.has("livepatch: pre-patch callback failed for object 'klpbundle_mid'")).toBe(true);
    expect(s.has('livepatch: Module load failed: p1__klpbundle_mid')).toBe(true);
    expect(s.modules()).toEqual(['klpbundle_core', 'p1']);
    const b = await bundles();
    b.insmod('core');
    b.enable(bundleOf('p1', ['p1_vmlinux', 'bad_callback']));
    b.settled();
    expect(b.insmod('mid')).toBe(UAPI.EPERM);
    expect(b.modules()).toEqual(['klpbundle_core', 'klpbundle_p1_vmlinux']);
  });

  it('so is a file that is not there; a bundle has its members with it', async () => {
    const s = await submodules();
    s.patch('p1', PATCHED);
    s.settled();
    s.machine.inspect.fs.ramfs.remove('/lib/modules/p1__klpbundle_core.ko');
    expect(s.insmod('core')).toBe(UAPI.EINVAL);
    const b = await bundles();
    b.enable(bundleOf('p1', PATCHED));
    b.machine.inspect.fs.ramfs.remove('/lib/x.klpb');
    b.settled();
    expect(b.insmod('core')).toBe(0);
    expect(b.says('core')).toBe(100);
  });

  it('who kills the helper has the object refused, or left unpatched', async () => {
    const s = await submodules();
    s.patch('p1', ['p1_vmlinux', 'slow_core']);
    s.settled();
    const load = s.startInsmod('core');
    s.machine.runUntil(() => s.modules().includes('p1__klpbundle_core'), SECOND);
    const helper = s.helper();
    if (!helper) throw new Error('no helper runs');
    s.machine.inspect.exit.sendSignal(helper, SIGKILL);
    expect(s.wait(load)).toBe(UAPI.EINVAL);
    expect(s.modules()).not.toContain('klpbundle_core');
  });
});

describe('dependencies that user space sees to', () => {
  it('a submodule that uses its own object has modprobe wait for what waits for it, for ever; a member does not', async () => {
    const s = await submodules();
    s.patch('p1', ['p1_vmlinux', 'x_core']);
    s.settled();
    const load = s.startInsmod('core');
    expect(s.wait(load, 60 * SECOND)).toBeUndefined();
    const helper = s.helper();
    expect(s.machine.stack(load).join('\n')).toMatch(/call_usermodehelper_exec.*\n.*__request_module/);
    expect(helper && s.machine.stack(helper).join('\n')).toContain('__do_sys_finit_module');
    expect(s.modules()).toEqual(['klpbundle_core', 'p1']);
    // Nobody tells: the one sleeps interruptibly, the other killably.
    expect(s.has(/blocked for more than/)).toBe(false);
    s.machine.inspect.exit.sendSignal(load, SIGKILL);
    expect(s.wait(load)).toBe(128 + SIGKILL);
    s.machine.runFor(SECOND);
    expect(s.modules()).toEqual(['p1']);
    const b = await bundles();
    b.enable(bundleOf('p1', ['p1_vmlinux', 'x_core']));
    b.settled();
    expect(b.insmod('core')).toBe(0);
    expect(b.says('core')).toBe(201);
    expect(b.rmmod('core')).toBe(0);
  });

  it('one that uses the module for vmlinux works, for the loader knows of such a load; so does a member', async () => {
    const s = await submodules();
    s.insmod('core');
    expect(s.patch('p1', ['y_vmlinux', 'y_core'])).toBe(0);
    s.settled();
    expect(s.says('core')).toBeGreaterThan(300);
    const b = await bundles();
    b.insmod('core');
    expect(b.enable(bundleOf('p1', ['y_vmlinux', 'y_core']))).toBe(0);
    b.settled();
    expect(b.says('core')).toBeGreaterThan(300);
  });

  it('one that closes a circle of modules does so too; of a member it is refused at once, by the symbol', async () => {
    const s = await submodules();
    s.machine.addFile('/lib/modules/klpbundle_mid.ko', ko('mid'));
    s.patch('p1', ['p1_vmlinux', 'd_core']);
    s.settled();
    expect(s.wait(s.startInsmod('core'), 60 * SECOND)).toBeUndefined();
    const b = await bundles();
    b.machine.addFile('/lib/modules/klpbundle_mid.ko', ko('mid'));
    b.enable(bundleOf('p1', ['p1_vmlinux', 'd_core']));
    b.settled();
    const now = b.machine.now();
    expect(b.insmod('core')).toBe(UAPI.ENOENT);
    expect(b.machine.now() - now).toBeLessThan(SECOND);
    expect(b.has(/Unknown symbol klpbundle_mid_value/)).toBe(true);
  });
});

describe('races of modules and patches', () => {
  it('a patch that goes while a helper loads for it is no reason to refuse the object; a bundle does not go then', async () => {
    const s = await submodules();
    s.patch('p1', ['p1_vmlinux', 'slow_core']);
    s.settled();
    const load = s.startInsmod('core');
    s.machine.runUntil(() => s.modules().includes('p1__klpbundle_core'), SECOND);
    expect(s.write('p1', 'enabled', '0')).toBe(0);
    expect(s.wait(load)).toBe(0);
    expect(s.has('livepatch: Module load failed: p1__klpbundle_core')).toBe(true);
    expect(s.says('core')).toBe(1);
    const b = await bundles();
    b.enable(bundleOf('p1', ['p1_vmlinux', 'slow_core']));
    b.settled();
    const late = b.startInsmod('core');
    b.machine.runUntil(() => b.modules().includes('klpbundle_slow_core'), SECOND);
    expect(b.write('p1', 'enabled', '0')).toBe(0);
    expect(b.machine.exitStatus(late)).toBe(0);
    expect(b.has('klpbundle_core: init says 500')).toBe(true);
    expect(b.settled()).toBe(true);
    expect(b.says('core')).toBe(1);
  });

  it('an object that comes again at once meets the submodule that is not gone yet; a member goes with its object', async () => {
    const s = await submodules();
    s.insmod('core');
    s.patch('p1', ['p1_vmlinux', 'slow_core']);
    s.settled();
    expect(s.rmmod('core')).toBe(0);
    expect(s.modules()).toContain('p1__klpbundle_core');
    expect(s.insmod('core')).toBe(UAPI.EINVAL);
    s.machine.runFor(SECOND);
    expect(s.insmod('core')).toBe(0);
    const b = await bundles();
    b.insmod('core');
    b.enable(bundleOf('p1', ['p1_vmlinux', 'slow_core']));
    b.settled();
    expect(b.rmmod('core')).toBe(0);
    expect(b.modules()).not.toContain('klpbundle_slow_core');
    expect(b.insmod('core')).toBe(0);
    expect(b.says('core')).toBe(500);
  });

  it('an object that comes while its patch is being loaded is patched, whoever of the two loads the submodule', async () => {
    for (const ms of [0, 2, 50, 200, 1510]) {
      const s = await submodules();
      s.install('p1', ['p1_vmlinux', 'slow_core', 'p1_mid']);
      s.insmod('core');
      s.machine.addFile('/lib/modules/klpbundle_mid.ko', ko('mid'));
      const enable = s.startPatch('p1');
      s.machine.runFor(ms * 1e6);
      const load = s.startInsmod('mid');
      expect([s.wait(enable), s.wait(load)]).toEqual([0, 0]);
      s.settled();
      expect(s.modules()).toContain('p1__klpbundle_mid');
      expect(s.says('mid')).toBeGreaterThan(99);
      s.machine.close();
      open.pop();
    }
  });
});

describe('what one has to build, install and look at', () => {
  it('a module an object, and each is a module of the system; of a bundle it is those whose object is there, and a file', async () => {
    const members = ['p1_vmlinux', 'p1_core', 'p1_mid', 'p1_top'];
    const s = await submodules();
    s.patch('p1', members);
    s.settled();
    expect(s.machine.inspect.fs.list('/lib/modules')).toEqual([
      'p1.ko',
      'p1__klpbundle_core.ko',
      'p1__klpbundle_mid.ko',
      'p1__klpbundle_top.ko',
    ]);
    expect(s.modules()).toEqual(['p1']);
    const b = await bundles();
    b.enable(bundleOf('p1', members));
    b.settled();
    expect(b.modules()).toEqual(['klpbundle_p1_vmlinux']);
  });
});
