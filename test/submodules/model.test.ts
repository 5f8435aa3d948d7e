// docs/submodules.md: what the proposal of 2020 does, and what its author held against it. What becomes of the same in the
// model of bundles is in drawbacks.test.ts.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { ko, SECOND } from '../bundle/world.ts';
import { SubmoduleWorld, submodulesOf } from './world.ts';

let w: SubmoduleWorld;
beforeEach(async () => {
  w = await SubmoduleWorld.boot();
});
afterEach(() => w.machine.close());

const after = (line: string | RegExp): string[] => {
  const lines = w.machine.dmesg().map((text) => text.replace(/^\[.*?\] /, ''));
  return lines.slice(
    lines.findIndex((text) => (typeof line === 'string' ? text.includes(line) : line.test(text))),
  );
};
/** Until the workers that remove submodules have run. */
const removed = (name: string): boolean => w.machine.runUntil(() => !w.modules().includes(name), 10 * SECOND);

describe('a livepatch of one module an object', () => {
  it('has a helper load the modules for objects that are there, and enables all as one', () => {
    w.insmod('core');
    expect(w.patch('p1', ['p1_vmlinux', 'p1_core', 'p1_mid'])).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.modules()).toEqual(['klpbundle_core', 'p1', 'p1__klpbundle_core']);
    expect(w.machine.inspect.fs.list('/sys/kernel/livepatch/p1')).toContain('klpbundle_core');
    expect(w.says('core')).toBe(100);
    expect(w.cat('/proc/cmdline')).toBe('klpbundle: livepatched\n');
  });

  it('has the one for an object that comes loaded before its init, which runs patched', () => {
    expect(w.patch('p1', ['p1_vmlinux', 'p1_core'])).toBe(0);
    w.settled();
    expect(w.insmod('core')).toBe(0);
    expect(w.has('klpbundle_core: init says 100')).toBe(true);
    expect(after("applying patch 'p1'").slice(0, 4)).toEqual([
      "livepatch: applying patch 'p1' to loading module 'klpbundle_core'",
      'klpbundle_p1_core: pre_patch: klpbundle_core',
      'klpbundle_p1_core: post_patch: klpbundle_core',
      'klpbundle_core: init says 100',
    ]);
  });

  it('loses it from a worker when the object goes, so that it can come again', () => {
    w.insmod('core');
    w.patch('p1', ['p1_vmlinux', 'p1_core']);
    w.settled();
    expect(w.rmmod('core')).toBe(0);
    expect(w.has("livepatch: reverting patch 'p1' on unloading module 'klpbundle_core'")).toBe(true);
    expect(removed('p1__klpbundle_core')).toBe(true);
    expect(w.insmod('core')).toBe(0);
    expect(w.says('core')).toBe(100);
    expect(w.callbacks).toEqual({ pre_patch: 1, post_patch: 1 });
  });

  it('is gone with all of its modules but its own when it was disabled', () => {
    w.insmod('core');
    w.patch('p1', ['p1_vmlinux', 'p1_core']);
    w.settled();
    expect(w.write('p1', 'enabled', '0')).toBe(0);
    w.settled();
    expect(removed('p1__klpbundle_core')).toBe(true);
    expect(w.wait(w.machine.rmmod('p1'))).toBe(0);
    expect(w.modules()).toEqual(['klpbundle_core']);
    expect(w.says('core')).toBe(1);
    expect(w.callbacks).toEqual({ pre_patch: 0, post_patch: 0 });
  });

  it('leaves all of its modules when it was forced out', () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    w.insmod('core');
    w.patch('p1', ['p1_vmlinux', 'p1_core', 'p1_asker']);
    w.settled();
    w.insmod('asker');
    expect(w.write('p1', 'enabled', '0')).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('p1');
    expect(w.write('p1', 'force', '1')).toBe(0);
    w.settled();
    w.machine.runFor(3 * SECOND);
    expect(w.modules()).toEqual(expect.arrayContaining(['p1', 'p1__klpbundle_core', 'p1__klpbundle_asker']));
    expect(w.wait(w.machine.rmmod('p1__klpbundle_core'))).toBe(UAPI.EAGAIN);
  });

  it('is refused while another is being loaded or in transition, and so are writes to enabled', () => {
    w.insmod('core');
    w.patch('p0', ['p1_vmlinux']);
    w.settled();
    w.install('p1', ['p1_vmlinux', 'slow_core']);
    const slow = w.startPatch('p1');
    expect(w.machine.runUntil(() => w.modules().includes('p1__klpbundle_core'), SECOND)).toBe(true);
    expect(w.patch('p2', ['p1_vmlinux'])).toBe(UAPI.EBUSY);
    expect(w.has('livepatch: Already enabling livepatch: p1')).toBe(true);
    expect(w.write('p0', 'enabled', '0')).toBe(UAPI.EBUSY);
    expect(w.wait(slow)).toBe(0);
    w.settled();
    expect(w.says('core')).toBe(500);
  });

  it('takes a submodule from a user only where its patch and its object are', () => {
    w.install('p1', ['p1_vmlinux', 'slow_core', 'p1_mid']);
    const sub = () => w.wait(w.machine.insmod('/lib/modules/p1__klpbundle_core.ko'));
    expect(sub()).toBe(UAPI.EINVAL);
    expect(
      w.has(
        "livepatch: Can't load livepatch (p1__klpbundle_core) for module when the livepatch (p1) for vmcore is not loaded",
      ),
    ).toBe(true);
    w.wait(w.startPatch('p1'));
    w.settled();
    expect(sub()).toBe(UAPI.EINVAL);
    expect(w.has('livepatch: Livepatched module is not loaded: klpbundle_core')).toBe(true);
    w.machine.addFile('/lib/modules/p2.ko', submodulesOf('p2', ['p1_vmlinux', 'p1_mid'])[0].bytes);
    w.machine.addFile(
      '/lib/modules/p2__klpbundle_core.ko',
      submodulesOf('p2', ['p1_vmlinux', 'slow_core'])[1].bytes,
    );
    w.wait(w.startPatch('p2'));
    w.settled();
    expect(w.wait(w.machine.insmod('/lib/modules/p2__klpbundle_core.ko'))).toBe(UAPI.EINVAL);
    expect(w.has('livepatch: Livepatch (p2) is not supposed to livepatch the module: klpbundle_core')).toBe(
      true,
    );
    expect(w.modules()).toEqual(['p1', 'p2']);
  });

  it('waits for its helper in the words of a stack of the kernel', () => {
    w.patch('p1', ['p1_vmlinux', 'slow_core']);
    w.settled();
    const load = w.startInsmod('core');
    expect(w.machine.runUntil(() => w.modules().includes('p1__klpbundle_core'), SECOND)).toBe(true);
    w.machine.runFor(SECOND / 20);
    const frames = w.machine.stack(load).map((line) => line.replace(/^\[<0>\] |\+.*/g, ''));
    expect(frames.slice(0, 2)).toEqual(['call_usermodehelper_exec', '__request_module']);
    expect(w.machine.stack(w.helper() ?? load).join()).toContain('msleep');
    expect(w.wait(load)).toBe(0);
  });
});
