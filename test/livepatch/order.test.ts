// The order in which livepatch's data changes: what a CPU that looks between two steps of the core may see.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import type { TraceEvent } from '../../src/guest/observer.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { TaskStruct } from '../../src/kernel/task_struct.ts';
import { LIVEPATCH } from '../../src/livepatch/since.ts';
import type { KlpFunc } from '../../src/livepatch/structs.ts';
import { Machine } from '../../src/machine/machine.ts';
import { World } from '../ftrace/world.ts';

const C = BUILT_IN.constants;
const PATCH = 'klpdemo_patch_vmlinux';
const DIR = `/kernel/livepatch/${PATCH}`;

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

const func = (): KlpFunc => world.livepatch.patches()[0].objects()[0].funcs()[0];
const versions = (): number => {
  const ops = world.livepatch.patching.findOps(world.sym('cmdline_proc_show'));
  return ops === undefined ? 0 : world.livepatch.patching.funcStack(ops).length;
};
const states = (): number[] => [1, 2, 3].map((pid) => world.task(pid).patchState);
const pending = (): number[] => [1, 2, 3].filter((pid) => world.task(pid).testTif('TIF_PATCH_PENDING'));

/** What was seen at each grace period, of klp_synchronize_transition(). */
function whileOthersRun(look: () => unknown): unknown[] {
  const seen: unknown[] = [];
  world.during.eachCpu = () => void seen.push(look());
  return seen;
}

/** Stores of the core in their order, by what they are to; of those to one after the other of a kind the first. */
function storesOf(body: () => void): string[] {
  const { mem, kernel, tasks } = world.core;
  const stores: string[] = [];
  const note = (name: string): void => {
    if (stores.at(-1) !== name) stores.push(name);
  };
  for (const task of [...tasks.processes(), ...tasks.idle]) noteStores(task, note);
  const names = new Map<bigint, string>([[world.sym('klp_target_state'), 'klp_target_state']]);
  for (const one of world.livepatch.patches().flatMap((patch) => patch.objects().flatMap((o) => o.funcs())))
    names.set(one.addr + BigInt(kernel.structs.klp_func.fields.transition), 'transition');
  for (const write of ['writeU8', 'writeU32'] as const) {
    const plain = mem[write].bind(mem);
    mem[write] = (addr, value) => {
      const name = names.get(addr);
      if (name !== undefined) note(name);
      plain(addr, value);
    };
  }
  body();
  return stores;
}

/** Tells of what is stored to a task. */
function noteStores(task: TaskStruct, note: (name: string) => void): void {
  const { get, set } = Object.getOwnPropertyDescriptor(
    TaskStruct.prototype,
    'patchState',
  ) as PropertyDescriptor;
  Object.defineProperty(task, 'patchState', {
    get: () => get?.call(task),
    set: (value) => {
      note('patch_state');
      set?.call(task, value);
    },
  });
  for (const name of ['setTif', 'clearTif'] as const)
    task[name] = (flag) => {
      note(name === 'setTif' ? 'TIF set' : 'TIF clear');
      TaskStruct.prototype[name].call(task, flag);
    };
}

describe('the core waits until every CPU has left the handler', () => {
  it('between the end of the last version and the clearing of func->transition, when it unpatches', () => {
    world.load(PATCH);
    const seen = whileOthersRun(() => [versions(), func().transition, states()]);
    world.echo('0', `${DIR}/enabled`);
    expect(seen).toEqual([[0, true, [0, 0, 0]]]);
    expect(world.calls.at(-1)).toBe('each cpu: klp_sync');
  });

  it('between the clearing of func->transition and the reset of patch_state, when it patches', () => {
    const seen = whileOthersRun(() => [versions(), func().transition, states()]);
    world.load(PATCH);
    expect(seen).toEqual([[1, false, [1, 1, 1]]]);
    expect(states()).toEqual([-1, -1, -1]);
  });

  it('with no flag set, and the target turned, when it goes back; tasks are asked again only then', () => {
    world.stacks.set(world.task(2), [world.sym('cmdline_proc_show') + 5n]);
    world.load(PATCH);
    world.stacks.set(world.task(1), -C.KLP_PATCHED);
    const seen = whileOthersRun(() => [pending(), world.livepatch.targetState, func().transition]);
    world.echo('0', `${DIR}/enabled`);
    expect(seen[0]).toEqual([[], C.KLP_UNPATCHED, true]);
    expect(pending()).toEqual([1, 3]);
  });

  it('with no flag set, and the target as it was, when it goes back on a kernel from 6.4 on', async () => {
    world = await World.boot({ kernel: { ...BUILT_IN, release: LIVEPATCH.reversesLast.release } });
    world.stacks.set(world.task(2), [world.sym('cmdline_proc_show') + 5n]);
    world.load(PATCH);
    const seen = whileOthersRun(() => [
      pending(),
      world.livepatch.targetState,
      world.livepatch.patches()[0].enabled,
    ]);
    world.echo('0', `${DIR}/enabled`);
    expect(seen[0]).toEqual([[], C.KLP_PATCHED, true]);
    expect(world.livepatch.targetState).toBe(C.KLP_UNPATCHED);
  });
});

describe('stores of the core come in the order that the barriers of transition.c give them', () => {
  it('target, patch_state and func->transition as a transition is begun, and then the flags', () => {
    world.load(PATCH);
    world.stacks.set(world.task(1), -1);
    const stores = storesOf(() => world.echo('0', `${DIR}/enabled`));
    expect(stores.slice(0, 4)).toEqual(['klp_target_state', 'patch_state', 'transition', 'TIF set']);
  });

  it('the flag before patch_state where a task is switched', () => {
    world.stacks.set(world.task(1), -1);
    world.load(PATCH);
    world.stacks.clear();
    const stores = storesOf(() => world.work(1));
    expect(stores).toEqual(['TIF clear', 'patch_state', 'transition', 'patch_state', 'klp_target_state']);
  });
});

describe('a function is on its func_stack', () => {
  it('for as long as its call can come to the handler: until the site is a nop and nobody is in a trampoline', () => {
    world.load(PATCH);
    const seen: [string, number][] = [];
    world.during.sync = () => seen.push(['sync', versions()]);
    world.during.rcu = (what) => seen.push([what, versions()]);
    world.echo('0', `${DIR}/enabled`);
    expect(new Set(seen.map(([what]) => what))).toEqual(new Set(['sync', 'rude', 'tasks']));
    expect(seen.filter(([, count]) => count !== 1)).toEqual([]);
    expect(versions()).toBe(0);
  });

  it('before its call can come to the handler', () => {
    const seen: number[] = [];
    world.during.sync = () => seen.push(versions());
    world.load(PATCH);
    expect(seen.length).toBeGreaterThan(2);
    expect(seen.filter((count) => count !== 1)).toEqual([]);
  });
});

describe('guest code reads livepatch data in the order that its barriers give them', () => {
  let machine: Machine;
  afterEach(() => machine.close());

  /** Accesses of a function of the image to these fields, in their order, while a task runs a program. */
  async function accesses(
    name: string,
    fields: Readonly<Record<string, bigint>>,
    run: () => void,
  ): Promise<string[]> {
    const observer = machine.inspect.executor.observer;
    const { start, end } = rangeOf(name);
    observer?.trace(['accesses']);
    run();
    const { events, lost } = observer?.takeTrace() ?? { events: [], lost: 1 };
    observer?.trace([]);
    expect(lost).toBe(0);
    const named = new Map(Object.entries(fields).map(([field, addr]) => [addr, field]));
    const within = (e: TraceEvent): boolean => e.pc >= start && e.pc < end && named.has(e.addr);
    return events.filter(within).map((e) => `${e.what} ${named.get(e.addr)}`);
  }

  function rangeOf(name: string): { start: bigint; end: bigint } {
    const { symbols } = machine.inspect.core;
    const start = symbols.require(name);
    return { start, end: start + BigInt(symbols.sizeAndOffset(start)?.size ?? 0) };
  }

  it('klp_update_patch_state() clears the flag, then reads the target, then writes patch_state', async () => {
    machine = await Machine.boot({ cpus: 1 });
    const { livepatch, core } = machine.inspect;
    const task = machine.spawn('yield');
    machine.runFor(1e6);
    const { patch_state, thread_info_flags } = core.kernel.structs.task_struct.fields;
    task.setTif('TIF_PATCH_PENDING');
    const seen = await accesses(
      'klp_update_patch_state',
      {
        flags: task.addr + BigInt(thread_info_flags),
        klp_target_state: core.symbols.require('klp_target_state'),
        patch_state: task.addr + BigInt(patch_state),
      },
      () => machine.runUntil(() => !task.testTif('TIF_PATCH_PENDING'), 1e9),
    );
    expect(livepatch.transitionPatch).toBeUndefined();
    expect(seen).toEqual(['read flags', 'write flags', 'read klp_target_state', 'write patch_state']);
  });

  it('klp_ftrace_handler() looks at func_stack, then func->transition, then patch_state', async () => {
    machine = await bootWithModules({ cpus: 1 });
    const { livepatch, core } = machine.inspect;
    const { klp_ops, klp_func, task_struct } = core.kernel.structs;
    const loader = machine.insmod(`/${PATCH}.ko`);
    machine.runUntil(() => machine.exitStatus(loader) !== undefined && !livepatch.transitionPatch, 10e9);
    const ops = livepatch.patching.findOps(core.symbols.require('cmdline_proc_show')) as bigint;
    const [func] = livepatch.patching.funcStack(ops);
    // As in a transition, for this one reader.
    func.transition = true;
    const task = machine.spawn('cat', ['/proc/cmdline']);
    task.patchState = C.KLP_PATCHED;
    const seen = await accesses(
      'klp_ftrace_handler',
      {
        func_stack: ops + BigInt(klp_ops.fields.func_stack),
        transition: func.addr + BigInt(klp_func.fields.transition),
        patch_state: task.addr + BigInt(task_struct.fields.patch_state),
      },
      () => machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9),
    );
    expect(seen).toEqual(['read func_stack', 'read transition', 'read patch_state']);
  });
});
