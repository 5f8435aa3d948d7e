// The gate, wait by wait.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { rest } from './state.ts';
import { bundleOf, ko, SECOND, World } from './world.ts';

const [SIGINT, SIGKILL] = [2, 9];
const ATTACKS = join(import.meta.dirname, '../../fixtures/attacks/klpdemo_attacks.ko');

let w: World;
beforeEach(async () => {
  w = await World.boot();
});
afterEach(() => w.machine.close());

const why = (task: TaskStruct): string | undefined => w.machine.inspect.bundles?.gate.why(task);
/** Until it sleeps at the gate. */
function blocked(task: TaskStruct): TaskStruct {
  expect(w.machine.runUntil(() => why(task) !== undefined, SECOND)).toBe(true);
  return task;
}
/** A transition that goes on for half a second, because a thread sleeps in the function. */
function slow(): void {
  w.insmod('asker');
  expect(w.enable(bundleOf('slow', ['p1_asker']))).toBe(0);
  expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
}

describe('bundle.md 1: who waits on the gate', () => {
  it.each([1, 2, 4])('loads go on in the order in which they came, on %i CPUs', async (cpus) => {
    w.machine.close();
    w = await World.boot({ cpus });
    slow();
    const ended: string[] = [];
    w.machine.events.subscribe((e) => e.type === 'module' && e.state === 'LIVE' && ended.push(e.name));
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    const tasks = ['core', 'nested', 'mid', 'c1'].map((name) => blocked(w.startInsmod(name)));
    expect(w.machine.inspect.bundles?.gate.waits.map(({ task }) => task)).toEqual(tasks);
    // The last has two objects, which is refused when it has passed the gate.
    expect(tasks.map((task) => w.wait(task))).toEqual([0, 0, 0, UAPI.EINVAL]);
    const order = w.gate.filter((e) => e.what === 'load' && e.result === 1).map((e) => e.pid);
    expect(order).toEqual(tasks.map((task) => w.machine.inspect.users.pidOf(task)));
    expect(ended[0]).toBe('klpbundle_core');
  });

  it.each([10, 600])('a thread that an unload waits for does not wait behind a transition: %i ms', (ms) => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    w.insmod('asker'); // asks for a module after half a second
    w.machine.runFor(ms * 1e6);
    const unload = w.machine.spawn('rmmod', ['klpbundle_asker']); // waits for its thread
    w.machine.runFor(SECOND / 20);
    const enable = w.startEnable(bundleOf('v1', ['p1_vmlinux']));
    expect(w.wait(unload)).toBe(0);
    expect(w.wait(enable)).toBe(0);
    if (ms > 500) return;
    expect(w.has(`klpbundle_asker: request_module returned -${UAPI.EDEADLK}`)).toBe(true);
    const at = w.machine.dmesg().findIndex((line) => line.includes('livepatch: deadlock:'));
    const text = w.machine.dmesg().slice(at).join('\n');
    expect(text).toMatch(
      /klpbundle_asker:\d+ waits for a transition, which waits for the load of rmmod:\d+, which waits for it/,
    );
    expect(text).toMatch(
      /stack of klpbundle_asker:[\s\S]*klp_gate_lock[\s\S]*stack of rmmod:[\s\S]*kthread_stop/,
    );
  });

  it('an unload waits too, and is woken', () => {
    w.insmod('core');
    slow();
    const task = blocked(w.machine.spawn('rmmod_wait', ['klpbundle_core']));
    expect(why(task)).toBe("waits on the gate for the transition of 'slow'");
    expect(w.machine.runUntil(() => w.machine.stack(task)[0]?.includes('klp_gate_lock'), SECOND)).toBe(true);
    expect(w.machine.stack(task).join()).toContain('__do_sys_delete_module');
    expect(w.modules()).toContain('klpbundle_core');
    expect(w.wait(task)).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch).toBeUndefined();
    expect(w.modules()).not.toContain('klpbundle_core');
  });

  it('a load and an unload that are not to block get -EBUSY at once', () => {
    w.insmod('core');
    slow();
    const before = w.modules();
    const now = w.machine.now();
    w.machine.addFile('/lib/mid.ko', ko('mid'));
    expect(w.wait(w.machine.spawn('insmod_nonblock', ['/lib/mid.ko']))).toBe(UAPI.EBUSY);
    expect(w.rmmod('core')).toBe(UAPI.EBUSY);
    expect(w.machine.now() - now).toBeLessThan(0.02 * SECOND);
    expect(w.modules()).toEqual(before);
    w.settled();
    expect(w.wait(w.machine.spawn('insmod_nonblock', ['/lib/mid.ko']))).toBe(0);
  });

  it('a signal ends the wait of a load, and leaves nothing of it', () => {
    slow();
    const before = w.modules();
    const task = blocked(w.startInsmod('mid'));
    w.machine.inspect.exit.sendSignal(task, SIGINT);
    expect(w.wait(task)).toBe(128 + SIGINT);
    expect(w.modules()).toEqual(before);
    expect(w.machine.inspect.bundles?.gate.waits).toEqual([]);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
    expect(w.settled()).toBe(true);
    expect(w.insmod('core')).toBe(0);
  });

  it('a signal ends the wait of a transition, which then never was', () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    const load = w.startInsmod('nested'); // 200 ms in its init
    w.machine.runUntil(() => w.modules().includes('klpbundle_nested'), SECOND);
    const task = blocked(w.startEnable(bundleOf('v1', ['p1_vmlinux'])));
    w.machine.inspect.exit.sendSignal(task, SIGINT);
    expect(w.wait(task)).toBe(128 + SIGINT);
    expect(w.machine.inspect.fs.list('/sys/kernel/livepatch')).toEqual([]);
    // A load that would have waited behind it goes on.
    expect(w.insmod('core')).toBe(0);
    w.wait(load);
    rest(w);
  });

  it('a reversal frees those who wait as soon as it is over', () => {
    slow();
    const task = blocked(w.startInsmod('core'));
    expect(w.write('slow', 'enabled', '0')).toBe(0);
    expect(w.wait(task)).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.freed('slow')).toBe(true);
  });

  it.each([1, 2, 3])('a load that dies frees those who wait for it (seed %i)', async (seed) => {
    w.machine.close();
    w = await World.boot({ seed, cpus: 2 });
    const { machine } = w;
    w.insmod('core');
    machine.addFile('/lib/bad.ko', new Uint8Array(readFileSync(ATTACKS)));
    const load = machine.spawn('insmod', ['/lib/bad.ko', 'how=null delay_ms=100']);
    expect(
      machine.runUntil(() => machine.inspect.bundles?.gate.loading.includes(load) === true, SECOND),
    ).toBe(true);
    const enable = blocked(w.startEnable(bundleOf('p1', ['p1_core'])));
    expect(why(enable)).toMatch(/^waits on the gate for loads under way: insmod:\d+$/);
    const { mem, symbols, kernel } = machine.inspect.core;
    const loads = () =>
      mem.readU32(symbols.require('klp_gate') + BigInt(kernel.structs.klp_gate.fields.loads));
    expect(loads()).toBe(1);
    expect(w.wait(load)).toBe(128 + SIGKILL);
    expect(w.has(/livepatch: insmod:\d+ died while it loaded or unloaded a module/)).toBe(true);
    expect(loads()).toBe(0);
    expect(w.wait(enable, SECOND)).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.says('core')).toBe(100); // patched
  });

  it('a second transition is refused with -EBUSY, as ever', () => {
    slow();
    expect(w.enable(bundleOf('v1', ['p1_vmlinux']))).toBe(UAPI.EBUSY);
    expect(w.settled()).toBe(true);
    expect(w.enable(bundleOf('v1', ['p1_vmlinux']))).toBe(0);
  });

  it("the load of a bundle's own members is part of its transition, and waits for nothing", () => {
    w.insmod('core');
    const held: boolean[] = [];
    w.machine.events.subscribe((e) => {
      if (e.type === 'module' && e.state === 'LIVE') held.push(w.machine.inspect.bundles?.gate.held === true);
    });
    expect(w.enable(bundleOf('v1', ['p1_vmlinux', 'p1_core']))).toBe(0);
    expect(held).toEqual([true, true]);
    expect(w.gate).toEqual([]);
    w.settled();
    expect(w.machine.inspect.bundles?.gate.held).toBe(false);
  });
});

describe('bundle.md 2: patches of several objects', () => {
  it('are refused, with the objects named', () => {
    w.insmod('core');
    w.insmod('asker');
    const before = w.modules();
    expect(w.insmod('c1')).toBe(UAPI.EINVAL);
    expect(w.has(/patch 'klpbundle_c1' has 2 objects \(\w+, \w+\): a patch module has one/)).toBe(true);
    expect(w.modules()).toEqual(before);
    w.settled();
  });
});

describe('bundle.md 3: one transition, callbacks in the order of members', () => {
  it.each([[['s1_core', 's1_mid']], [['s1_mid', 's1_core']]])('%s', (members) => {
    w.insmod('core');
    w.insmod('mid');
    const begun: string[] = [];
    w.machine.events.subscribe((e) => e.type === 'transition' && begun.push(`${e.what} ${e.patch}`));
    expect(w.enable(bundleOf('v1', members))).toBe(0);
    w.settled();
    expect(new Set(begun.map((text) => text.split(' ')[1]))).toEqual(new Set(['v1']));
    expect(begun.filter((text) => text.startsWith('complete'))).toHaveLength(1);
    const said = w.machine.dmesg().flatMap((line) => /klpbundle_(s1_\w+): pre_patch/.exec(line)?.[1] ?? []);
    expect(said).toEqual(members);
  });
});

describe('bundle.md 4: a target of another version than the one that a member is for', () => {
  it('is refused when it comes, with the member and both versions named', () => {
    w.insmod('core');
    w.insmod('mid');
    expect(w.enable(bundleOf('v1', ['p1_core', 'p1_top']))).toBe(0);
    w.settled();
    const before = rest(w);
    const other = ko('top');
    const at = Buffer.from(other).indexOf('srcversion=') + 'srcversion='.length;
    other[at] = other[at] === 0x41 ? 0x42 : 0x41;
    w.machine.addFile('/lib/other.ko', other);
    expect(w.wait(w.machine.insmod('/lib/other.ko'))).toBe(UAPI.EINVAL);
    const [of] = w.machine.dmesg().filter((line) => line.includes('klpbundle_p1_top'));
    expect(of).toMatch(/bundle 'v1': .*klpbundle_top.* of srcversion \w{23}/);
    expect(rest(w)).toEqual(before);
    expect(w.insmod('top')).toBe(0);
    expect(w.has('klpbundle_top: init says 10')).toBe(true);
  });
});
