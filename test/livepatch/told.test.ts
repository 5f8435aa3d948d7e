// What a transition tells of itself: its steps, who switched from what to what and by which way, when the next try is.

import { beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from '../ftrace/world.ts';

const C = BUILT_IN.constants;
const PATCH = 'klpdemo_patch_vmlinux';
const DIR = `/kernel/livepatch/${PATCH}`;

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

const of = <T extends KernelEvent['type']>(type: T) =>
  world.events.filter((e): e is Extract<KernelEvent, { type: T }> => e.type === type);
const steps = () => of('transition').map((e) => `${e.what} ${e.target}`);

describe('a transition', () => {
  it('tells each of its steps, with the patch and the state that it goes to', () => {
    world.load(PATCH);
    expect(steps()).toEqual(['initializing 1', 'starting 1', 'completing 1', 'complete 1']);
    expect(new Set(of('transition').map((e) => e.patch))).toEqual(new Set([PATCH]));
    world.events.length = 0;
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    world.echo('0', `${DIR}/enabled`);
    world.work(16);
    world.echo('1', `${DIR}/enabled`);
    world.echo('0', `${DIR}/enabled`);
    world.echo('1', `${DIR}/force`);
    expect(steps()).toEqual([
      'initializing 0',
      'starting 0',
      'signaling remaining tasks 0',
      'reversing 0',
      'starting 1',
      'reversing 1',
      'starting 0',
      'forcing 0',
    ]);
  });

  it('tells of each task from what to what it switched, how long after the start, and by which way', () => {
    const old = world.sym('cmdline_proc_show');
    world.stacks.set(world.task(2), [old]);
    world.now = 5e9;
    world.load(PATCH);
    world.stacks.clear();
    world.work(1);
    const switched = () => of('patch_state').map((e) => [e.pid, e.comm, e.from, e.to, e.way]);
    expect(switched().slice(0, 2)).toEqual([
      [1, 'task1', C.KLP_UNPATCHED, C.KLP_PATCHED, 'stack check'],
      [3, 'task3', C.KLP_UNPATCHED, C.KLP_PATCHED, 'stack check'],
    ]);
    expect(of('patch_state')[0].sinceNs).toBe(0);
    expect(of('patch_state').at(-1)?.sinceNs).toBe(world.now - 5e9);
    expect(world.livepatch.transition.startedAt).toBe(5e9);
    world.events.length = 0;
    world.echo('0', `${DIR}/enabled`);
    expect(switched()[0]).toEqual([1, 'task1', C.KLP_PATCHED, C.KLP_UNPATCHED, 'stack check']);
  });

  it('tells of a child that it never was in the old state, if its parent has switched', () => {
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    const forked = () => of('patch_state').filter((e) => e.way === 'fork');
    const { livepatch } = world;
    livepatch.copyProcess(world.task(1), world.task(3));
    expect(forked()).toEqual([]);
    world.load(PATCH);
    livepatch.copyProcess(world.task(2), world.task(3));
    expect(forked()).toEqual([]);
    expect(world.task(3).testTif('TIF_PATCH_PENDING')).toBe(true);
    livepatch.copyProcess(world.task(1), world.task(3));
    expect(world.task(3).testTif('TIF_PATCH_PENDING')).toBe(false);
    expect(forked()).toMatchObject([{ pid: 3, from: C.KLP_UNDEFINED, to: C.KLP_PATCHED }]);
  });

  it('tells who keeps it open: where and with which stack, of one that runs with none', () => {
    world.running.add(world.task(3));
    const at = world.sym('vfs_read') + 5n;
    world.stacks.set(world.task(2), [at, world.sym('cmdline_proc_show') + 1n]);
    world.stacks.set(world.task(3), [at]);
    world.stacks.set(world.task(1), -UAPI.EINVAL);
    world.current = world.core.tasks.idle[0];
    world.load(PATCH);
    expect(of('blocked').map((e) => [e.pid, e.comm, e.why, e.func, e.stack.length])).toEqual([
      [1, 'task1', 'has an unreliable stack', undefined, 0],
      [2, 'task2', 'is sleeping on function cmdline_proc_show', 'cmdline_proc_show', 2],
      [3, 'task3', 'is running', undefined, 0],
    ]);
  });

  it('forced over a cumulative patch keeps the older ones for ever, not the new one', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    world.replacing();
    world.load('klpdemo_patch_both');
    world.echo('1', '/kernel/livepatch/klpdemo_patch_both/force');
    expect(world.livepatch.patches().map((patch) => [patch.name, patch.forced])).toEqual([
      ['klpdemo_patch_target', true],
      ['klpdemo_patch_both', false],
    ]);
    // Who has switched by then is not forced.
    expect(
      of('patch_state')
        .filter((e) => e.way === 'force')
        .map((e) => e.pid),
    ).toEqual([2]);
  });

  it('forced while it patches, and replaces nothing, keeps none', () => {
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    world.load(PATCH);
    world.echo('1', `${DIR}/force`);
    expect(world.livepatch.patches().map((patch) => patch.forced)).toEqual([false]);
  });

  it('asks for signals after each fifteen tries, counted anew when it is turned round', () => {
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    world.load(PATCH);
    const sent = () => world.signalled.length;
    world.work(14);
    expect(sent()).toBe(0);
    world.work(1);
    expect(sent()).toBe(1);
    expect(world.livepatch.context.signalsCnt).toBe(16);
    world.echo('0', `${DIR}/enabled`);
    expect(world.livepatch.context.signalsCnt).toBe(0);
    world.work(1);
    expect(sent()).toBe(1);
  });
});

describe('a task that asks for itself', () => {
  const ask = (task: bigint) => world.livepatch.transition.trySwitchItself(world.call(task));
  const later = (release: string): KernelDescription => ({ ...BUILT_IN, release });

  it('has nothing to do outside a transition, if it has switched, or if nobody knows it', () => {
    expect(ask(world.task(1).addr)).toBe(true);
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    world.load(PATCH);
    expect(ask(world.task(1).addr)).toBe(true);
    expect(ask(world.sym('vfs_read'))).toBe(true);
    const before = of('patch_state').length;
    expect(ask(world.task(2).addr)).toBe(false);
    expect(world.task(2).patchState).toBe(C.KLP_UNPATCHED);
    expect(of('patch_state')).toHaveLength(before);
    world.stacks.clear();
    expect(ask(world.task(2).addr)).toBe(true);
    expect(world.task(2).patchState).toBe(C.KLP_PATCHED);
  });

  it('does so where kernels have it: in cond_resched(), for the time of a transition', async () => {
    world = await World.boot({ kernel: later('6.12.117') });
    world.stacks.set(world.task(2), -UAPI.EINVAL);
    const calls = () => world.calls.filter((name) => name.startsWith('sched_dynamic_klp'));
    world.load(PATCH);
    expect(calls()).toEqual(['sched_dynamic_klp_enable']);
    world.stacks.clear();
    ask(world.task(2).addr);
    expect(of('patch_state').at(-1)?.way).toBe('cond_resched');
    world.work(1);
    expect(calls()).toEqual(['sched_dynamic_klp_enable', 'sched_dynamic_klp_disable']);
  });
});

describe('files of later kernels', () => {
  const files = async (release: string) => {
    world = await World.boot({ kernel: { ...BUILT_IN, release } });
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    world.load(PATCH);
    const node = world.node(DIR);
    return node?.kind === 'directory' ? node.entries().map(({ name }) => name) : [];
  };

  it('say whether a patch replaces others, and which it is of those that are stacked', async () => {
    expect(await files('6.1.0')).not.toContain('replace');
    expect(await files('6.12.117')).toContain('replace');
    expect(world.cat(`${DIR}/replace`)).toBe('0\n');
    expect(world.node(`${DIR}/stack_order`)).toBeUndefined();
    expect(await files('6.14.0')).toEqual(expect.arrayContaining(['replace', 'stack_order']));
    expect(world.cat(`${DIR}/stack_order`)).toBe('2\n');
    expect(world.cat('/kernel/livepatch/klpdemo_patch_target/stack_order')).toBe('1\n');
    world.echo('0', '/kernel/livepatch/klpdemo_patch_target/enabled');
    world.work();
    expect(world.cat(`${DIR}/stack_order`)).toBe('1\n');
    expect(world.node(`${DIR}/stack_order`)).toMatchObject({ mode: 0o444 });
    expect(world.node(`${DIR}/replace`)).toMatchObject({ mode: 0o444 });
  });
});

describe('the stack check', () => {
  it('counts a function from its first byte to its last', () => {
    const { symbols } = world.core;
    const start = world.sym('cmdline_proc_show');
    const size = symbols.sizeAndOffset(start)?.size ?? 0;
    const blocks = (addr: bigint) => {
      world.events.length = 0;
      world.stacks.set(world.task(2), [addr]);
      world.load(PATCH);
      const blocked = of('blocked').length > 0;
      world.stacks.clear();
      world.work();
      world.echo('0', `${DIR}/enabled`);
      world.work();
      world.unload(PATCH);
      return blocked;
    };
    expect(size).toBeGreaterThan(1);
    expect([-1, 0, size - 1, size].map((offset) => blocks(start + BigInt(offset)))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it('names the first of the functions of the patch, in its order, that the stack stands in', () => {
    world.load('klpdemo_target');
    const names: string[] = [];
    world.beforeEnable = (patch) => {
      for (const object of patch.staticObjects())
        for (const func of object.staticFuncs()) names.push(func.oldName ?? '');
      const at = (name: string) => (name.startsWith('klpdemo') ? `klpdemo_target:${name}` : name);
      // Innermost what the patch has last.
      world.stacks.set(world.task(2), names.map((name) => world.sym(at(name)) + 1n).reverse());
    };
    world.load('klpdemo_patch_both');
    expect(names.length).toBeGreaterThan(1);
    expect(of('blocked').map((e) => e.func)).toEqual([names[0]]);
  });
});
