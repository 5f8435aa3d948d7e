// Work items: queued, delayed, flushed and cancelled, run by kworkers of their CPU.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Stepper } from '../../src/check/stepper.ts';
import type { Addr } from '../../src/guest/addr.ts';
import type { HostGenerator } from '../../src/guest/hostcall.ts';
import { GuestMemoryError } from '../../src/guest/memory.ts';
import { packageRoot } from '../../src/guest/package_root.ts';
import { BUILT_IN, tickNs } from '../../src/kernel/description.ts';
import { WorkqueueStructs } from '../../src/sched/workqueue_struct.ts';
import { runInTask } from '../machine/in_task.ts';
import { MS, World } from './world.ts';

const TICK_NS = tickNs(BUILT_IN);

const LAYOUT = BUILT_IN.structs;

const { work_struct: W, delayed_work: D } = LAYOUT;
/** Behind a test's work item: how often it ran, and on which CPU last. */
const RAN = BigInt(D.size);
const CPU = RAN + 4n;
const DONE = RAN + 8n;

let world: World;
beforeEach(async () => {
  world = await World.boot({ cpus: 2 });
});
afterEach(() => world.close());

/** A work item, whose function counts and then does more. */
async function item(more = ''): Promise<Addr> {
  const fn = await world.kernel(
    `push rbx\nmov rbx, rdi\nmov eax, gs:[$cpu_number]\nmov [rbx+${CPU}], eax\ninc dword ptr [rbx+${RAN}]\n${more}\npop rbx\nret`,
  );
  const work = world.zeroed(D.size + 16);
  world.machine.inspect.core.mem.writeU64(work + BigInt(W.fields.func), fn);
  return work;
}
const ran = (work: Addr) => world.u32(work + RAN);
const untilRan = (work: Addr, times = 1) => world.machine.runUntil(() => ran(work) >= times, 1000 * MS);
/** Calls a function of the kernel in a thread of its own. */
function call(fn: string, arg: Addr) {
  return world.thread(fn, arg, { comm: fn.slice(0, 15) });
}

describe('a work item', () => {
  it('runs once on the CPU it was queued for', async () => {
    const { workqueue } = world.machine.inspect;
    const work = await item();
    for (const cpu of [1, 0, 1]) {
      const before = ran(work);
      expect(workqueue.queueWork(work, cpu)).toBe(true);
      expect(untilRan(work, before + 1)).toBe(true);
      world.machine.runFor(20 * MS);
      expect([ran(work), world.u32(work + CPU)]).toEqual([before + 1, cpu]);
    }
  });

  it('is pending from when it is asked for until it runs, queued or delayed', async () => {
    const { workqueue, core } = world.machine.inspect;
    const [now, later] = [await item(), await item()];
    const fn = (work: Addr) => core.mem.readU64(work + BigInt(W.fields.func));
    const before = workqueue.pendingFunctions();
    workqueue.queueWork(now);
    workqueue.queueDelayedWork(later, 8);
    expect(workqueue.pendingFunctions().filter((one) => !before.includes(one))).toEqual([fn(now), fn(later)]);
    expect(untilRan(now)).toBe(true);
    expect(workqueue.pendingFunctions()).toContain(fn(later));
    expect(untilRan(later)).toBe(true);
    expect(workqueue.pendingFunctions()).not.toContain(fn(later));
  });

  it('names its queue behind the name of who works on it, and after that', async () => {
    const { workqueue, core } = world.machine.inspect;
    const work = await item('mov edi, 3\ncall schedule_timeout_uninterruptible');
    workqueue.queueWork(work, 0);
    expect(untilRan(work)).toBe(true);
    const suffixes = () =>
      [...core.tasks.processes()].map((task) => workqueue.suffix(task)).filter((text) => text !== '');
    expect(suffixes()).toEqual(['+events']);
    const init = core.tasks.byPid(1);
    expect(init && workqueue.suffix(init)).toBe('');
    world.machine.runFor(50 * MS);
    expect(suffixes()).toEqual(['-events']);
  });

  it('that is queued already is not queued twice; while it runs it is', async () => {
    const { workqueue } = world.machine.inspect;
    const work = await item('mov edi, 3\ncall schedule_timeout_uninterruptible');
    expect([workqueue.queueWork(work), workqueue.queueWork(work)]).toEqual([true, false]);
    expect(untilRan(work)).toBe(true);
    expect([workqueue.queueWork(work), workqueue.queueWork(work)]).toEqual([true, false]);
    expect(untilRan(work, 2)).toBe(true);
    world.machine.runFor(100 * MS);
    expect(ran(work)).toBe(2);
  });

  it('that sleeps keeps no other from running', async () => {
    const sleeping = await item('mov edi, 1000\ncall msleep');
    const quick = await Promise.all([item(), item(), item()]);
    for (const work of [sleeping, ...quick]) world.machine.inspect.workqueue.queueWork(work, 0);
    world.machine.runFor(30 * MS);
    expect([sleeping, ...quick].map(ran)).toEqual([1, 1, 1, 1]);
  });
});

describe('delayed work', () => {
  it('runs at the tick behind that at which its delay is over', async () => {
    const work = await item();
    world.machine.runFor(1.5 * MS);
    const due = (Math.floor(world.machine.now() / TICK_NS) + 5 + 1) * TICK_NS;
    expect(world.machine.inspect.workqueue.queueDelayedWork(work, 5)).toBe(true);
    expect(world.machine.inspect.workqueue.queueDelayedWork(work, 1)).toBe(false);
    world.machine.runUntil(() => world.machine.now() >= due, 100 * MS);
    expect(ran(work)).toBe(0);
    world.machine.runFor(0.5 * MS);
    expect(ran(work)).toBe(1);
  });

  it('runs at once where its timer is said to be over, as a kernel that has the timer itself does', async () => {
    const { workqueue } = world.machine.inspect;
    const work = await item();
    workqueue.queueDelayedWork(work, 125, 1);
    expect(world.untilGone([call('delayed_work_timer_fn', work + BigInt(D.fields.timer))])).toBe(true);
    world.machine.runFor(20 * MS);
    expect([ran(work), world.u32(work + CPU)]).toEqual([1, 1]);
  });

  it('that has no delay is queued at once, by no timer', async () => {
    const { workqueue, timers } = world.machine.inspect;
    const work = await item();
    expect(workqueue.queueDelayedWork(work, 0)).toBe(true);
    expect(timers.next()).toBeUndefined();
    expect(untilRan(work)).toBe(true);
  });

  it('is put off and brought forward by mod_delayed_work()', async () => {
    const { workqueue } = world.machine.inspect;
    const work = await item();
    expect(workqueue.modDelayedWork(work, 5)).toBe(false);
    expect(workqueue.modDelayedWork(work, 50)).toBe(true);
    world.machine.runFor(40 * TICK_NS);
    expect(ran(work)).toBe(0);
    expect(workqueue.modDelayedWork(work, 1)).toBe(true);
    world.machine.runFor(3 * TICK_NS);
    expect(ran(work)).toBe(1);
    world.machine.runFor(100 * TICK_NS);
    expect(ran(work)).toBe(1);
  });

  it('that is cancelled never runs, and can be queued again', async () => {
    const { workqueue } = world.machine.inspect;
    const work = await item();
    workqueue.queueDelayedWork(work, 5);
    expect(world.untilGone([call('cancel_delayed_work_sync', work)], 3)).toBe(true);
    world.machine.runFor(100 * MS);
    expect([ran(work), world.machine.inspect.timers.next()]).toEqual([0, undefined]);
    workqueue.queueDelayedWork(work, 1);
    expect(untilRan(work)).toBe(true);
  });

  it('that is cancelled while it waits for its turn leaves the others in theirs', async () => {
    const { workqueue } = world.machine.inspect;
    const one = { name: 'one', maxActive: 1, active: 0 };
    const works = [await item('mov edi, 20\ncall msleep'), await item(), await item()];
    for (const work of works) workqueue.queueWork(work, 0, one);
    expect(untilRan(works[0])).toBe(true);
    expect(world.untilGone([call('cancel_work_sync', works[2])], 10)).toBe(true);
    world.machine.runFor(100 * MS);
    expect(works.map(ran)).toEqual([1, 1, 0]);
  });

  it('that is flushed runs now', async () => {
    const work = await item();
    world.machine.inspect.workqueue.queueDelayedWork(work, 1000);
    expect(world.untilGone([call('flush_delayed_work', work)], 20)).toBe(true);
    expect(ran(work)).toBe(1);
  });
});

describe('who waits for a work item', () => {
  it('waits until it has run to its end', async () => {
    const work = await item(
      `mov edi, 10\ncall schedule_timeout_uninterruptible\nmov dword ptr [rbx+${CPU}], 99`,
    );
    world.machine.inspect.workqueue.queueWork(work);
    expect(untilRan(work)).toBe(true);
    const waiters = [call('flush_work', work), call('cancel_work_sync', work), call('flush_work', work)];
    for (const task of waiters) expect(world.untilAsleep(task)).toBe(true);
    expect(world.machine.runUntil(() => waiters.some((task) => world.gone(task)), 200 * MS)).toBe(true);
    expect(world.u32(work + CPU)).toBe(99);
    expect(world.untilGone(waiters, 10)).toBe(true);
  });

  it('outlasts an item that queues itself, which cancel_delayed_work_sync() ends', async () => {
    // Queues itself with a delay of 2 ticks: queue_delayed_work_on(WORK_CPU_UNBOUND, wq, work, 2).
    const again = 'mov edi, 8192\nxor esi, esi\nmov rdx, rbx\nmov ecx, 2\ncall queue_delayed_work_on';
    const work = await item(`mov edi, 1\ncall schedule_timeout_uninterruptible\n${again}`);
    world.machine.inspect.workqueue.queueWork(work);
    expect(untilRan(work, 5)).toBe(true);
    expect(world.untilGone([call('cancel_delayed_work_sync', work)], 200)).toBe(true);
    const times = ran(work);
    world.machine.runFor(200 * MS);
    expect([ran(work), world.machine.inspect.timers.next()]).toEqual([times, undefined]);
  });
});

describe('schedule_on_each_cpu()', () => {
  it('has run the function on every CPU when it returns: klp_sync, before a transition goes on', async () => {
    const three = await World.boot({ cpus: 3 });
    const { machine } = three;
    machine.addFile(
      '/patch.ko',
      readFileSync(join(packageRoot(), 'fixtures/modules/klpdemo_patch_vmlinux.ko')),
    );
    const sync = machine.inspect.core.symbols.require('klp_sync');
    const on = new Set<number>();
    machine.insmod('/patch.ko');
    const complete = () => machine.dmesg().some((line) => line.endsWith(': patching complete'));
    const stepper = new Stepper(machine);
    const watched = () => {
      for (const cpu of machine.inspect.smp.cpus) if (cpu.pc === sync) on.add(cpu.id);
      return complete();
    };
    stepper.until(watched, 2_000_000);
    expect(complete()).toBe(true);
    expect([...on].sort()).toEqual([0, 1, 2]);
    three.close();
  });

  it('runs it on none where there is no memory for all, and keeps none', async () => {
    const { workqueue, core } = world.machine.inspect;
    const { slab } = core;
    const count = world.zeroed(8);
    const fn = await world.kernel(`movabs rax, ${count}\ninc dword ptr [rax]\nret`);
    const used = slab.used();
    const asked: string[] = [];
    slab.fault = (_, owner) => owner === 'schedule_on_each_cpu' && asked.push(owner) === 2;
    expect(workqueue.scheduleOnEachCpu(fn).next()).toEqual({ done: true, value: undefined });
    slab.fault = undefined;
    world.machine.runFor(20 * MS);
    expect([asked.length, world.u32(count), slab.used()]).toEqual([2, 0, used]);
  });
});

describe('a workqueue that a driver of a real kernel makes', () => {
  const WQ_UNBOUND = 1 << 1;

  it('is flushed when its own items are over, those that wait for their turn with them, and destroyed then', async () => {
    const { core } = world.machine.inspect;
    const call = (name: string, ...args: bigint[]) =>
      core.host.get(name)?.({ cpu: core.here(), args, sp: world.zeroed(64), caller: 0n });
    const name = world.zeroed(8);
    core.mem.writeCString(name, 'mine');
    const wq = call('alloc_workqueue', name, 0n, 1n) as bigint;
    const sleeps = (ms: number) => item(`mov edi, ${ms}\ncall msleep\ninc dword ptr [rbx+${DONE}]`);
    const own = [await sleeps(30), await sleeps(30)];
    const others = [await sleeps(300), await sleeps(300)];
    const theirs = call('alloc_workqueue', name, 0n, 1n) as bigint;
    for (const [at, of] of [
      [others[0], theirs],
      [others[1], theirs],
      [own[0], wq],
      [own[1], wq],
    ] as const)
      call('queue_work_on', 0n, of, at);
    const done = (works: readonly Addr[]) => works.map((work) => world.u32(work + DONE));
    const seen: number[][] = [];
    const status = runInTask(world.machine, function* () {
      seen.push(done([...own, others[0]]));
      yield* call('__flush_workqueue', wq) as HostGenerator<void>;
      seen.push(done([...own, others[0]]));
      // One that runs already.
      call('queue_work_on', 0n, wq, own[0]);
      yield { call: core.symbols.require('msleep'), args: [8n] };
      yield* call('destroy_workqueue', wq) as HostGenerator<void>;
      seen.push(done([...own, others[0]]));
    });
    expect(status).toBe(0);
    expect(seen).toEqual([
      [0, 0, 0],
      [1, 1, 0],
      [2, 1, 0],
    ]);
  });

  it('that is not there is not destroyed: who asks for it faults', () => {
    const destroy = world.machine.inspect.core.host.get('destroy_workqueue');
    const asked = destroy?.({ cpu: 0, args: [0n], sp: 0n, caller: 0n }) as HostGenerator<void>;
    expect(() => asked.next(0n)).toThrow(GuestMemoryError);
  });

  it('that does one item at a time has the others wait, on whatever CPU, and does each in the end', async () => {
    const { workqueue } = world.machine.inspect;
    const one = { name: 'one', maxActive: 1, active: 0 };
    const works = await Promise.all([0, 1, 2, 3].map(() => item('mov edi, 20\ncall msleep')));
    works.forEach((work, at) => {
      workqueue.queueWork(work, at % 2, one);
    });
    let most = 0;
    const all = () => {
      most = Math.max(most, one.active);
      return works.every((work) => ran(work) === 1) && one.active === 0;
    };
    world.machine.runFor(10 * MS);
    expect(works.map(ran).reduce((sum, times) => sum + times)).toBe(1);
    expect(world.machine.runUntil(all, 1000 * MS)).toBe(true);
    expect(most).toBe(1);
  });

  it('is there until it is destroyed, does as many items at once as it says, and one after the other where it is ordered', () => {
    const { core } = world.machine.inspect;
    const queues = new WorkqueueStructs(core);
    const used = core.slab.used();
    const [few, usual, ordered] = [
      queues.alloc('few', 0, 3),
      queues.alloc('usual', 0, 0),
      queues.alloc('ordered', WQ_UNBOUND, 1),
    ];
    expect([few, usual, ordered].map((wq) => queues.at(wq))).toMatchObject([
      { name: 'few', maxActive: 3 },
      { name: 'usual', maxActive: queues.system.maxActive },
      { name: 'ordered', maxActive: 1 },
    ]);
    queues.setMaxActive(few, 5);
    expect(queues.at(few)).toMatchObject({ name: 'few', maxActive: 5 });
    for (const wq of [few, usual, ordered]) queues.free(wq);
    expect(queues.at(few)).toBe(queues.system);
    expect(core.slab.used()).toBe(used);
  });
});
