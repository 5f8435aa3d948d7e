// What the scheduler, fork and workqueues keep of a boot for the next machine: nothing while it is not at rest, and what it was after.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { MS, World } from './world.ts';

const { delayed_work: D, work_struct: W } = BUILT_IN.structs;

let world: World;
beforeEach(async () => {
  world = await World.boot({ cpus: 2 });
});
afterEach(() => world.close());

const spinning = () => world.kernel('1: inc rax\njmp 1b');

describe('what is kept of a boot', () => {
  it('of the scheduler: who is bound to which CPU, how often they gave it up, the ticks; nothing while somebody waits', async () => {
    const { sched } = world.machine.inspect;
    const kept = sched.keep();
    expect(kept?.ticks).toHaveLength(2);
    expect(kept?.bound.length).toBeGreaterThan(0);
    const spin = await spinning();
    const bound = [0, 1, 2].map(() => world.thread(spin, 0n, { cpu: 1 }));
    world.machine.runFor(20 * MS);
    // Two of the three have no CPU.
    expect(sched.keep()).toBeUndefined();
    if (kept) sched.restore(kept);
    expect(sched.keep()).toEqual(kept);
    expect(bound.map((task) => sched.voluntarySwitches(task))).toEqual([0, 0, 0]);
  });

  it('of fork: the next pid and the next stack', () => {
    const { fork } = world.machine.inspect;
    const kept = fork.keep();
    const next = () => world.thread('kthread_should_stop').pid;
    const first = next();
    expect(next()).toBe(first + 1);
    expect(fork.keep().nextStack).toBeGreaterThan(kept.nextStack);
    fork.restore(kept);
    expect(fork.keep()).toEqual(kept);
  });

  it('of kernel threads: which there are, whether they are to stop, and what they have returned', () => {
    const { kthreads } = world.machine.inspect;
    const before = structuredClone(kthreads.keep());
    const thread = world.thread('schedule', 0n);
    expect(kthreads.keep().map(([addr]) => addr)).toEqual([...before.map(([addr]) => addr), thread.addr]);
    kthreads.restore(before);
    expect(kthreads.keep()).toEqual(before);
  });

  it('of timers: what is armed, of memory and of works; nothing while a task sleeps by one', () => {
    const { timers, workqueue, core } = world.machine.inspect;
    const call = (name: string, ...args: bigint[]) =>
      core.host.get(name)?.({ cpu: 0, args, sp: 0n, caller: 0n });
    const [first, second, gone] = [1, 2, 3].map(() => world.zeroed(BUILT_IN.structs.timer_list.size));
    const work = world.zeroed(D.size);
    const workTimer = work + BigInt(D.fields.timer);
    expect(timers.keep()?.heap).toEqual([]);
    for (const [timer, jiffies] of [
      [gone, 1],
      [second, 40],
      [first, 20],
    ] as const)
      call('mod_timer', timer, timers.jiffies() + BigInt(jiffies));
    call('timer_delete', gone);
    workqueue.queueDelayedWork(work, 250, 0);
    const kept = structuredClone(timers.keep()) as NonNullable<ReturnType<typeof timers.keep>>;
    const next = timers.next();
    for (const timer of [first, second]) call('timer_delete', timer);
    call('cancel_delayed_work', work);
    expect([timers.keep()?.heap, timers.next()]).toEqual([[], undefined]);
    timers.restore(kept);
    expect([first, second, gone, workTimer].map((timer) => timers.isPending(timer))).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect([timers.next(), timers.keep()]).toEqual([next, kept]);
    expect(world.untilAsleep(world.thread('msleep', 20))).toBe(true);
    expect(timers.keep()).toBeUndefined();
  });

  it('of workqueues: which there are and what waits for its time; nothing while an item is queued or runs', async () => {
    const { workqueue, core } = world.machine.inspect;
    const kept = workqueue.keep();
    expect(kept?.wqs.length).toBeGreaterThan(0);
    const work = world.zeroed(D.size);
    const sleep = await world.kernel('mov edi, 5\ncall schedule_timeout_uninterruptible\nret');
    core.mem.writeU64(work + BigInt(W.fields.func), sleep);
    workqueue.queueWork(work, 0);
    expect(workqueue.keep()).toBeUndefined();
    world.machine.runFor(10 * MS);
    expect(workqueue.keep()).toBeUndefined();
    world.machine.runFor(100 * MS);
    workqueue.queueDelayedWork(work, 250, 0);
    const later = workqueue.keep();
    expect(later?.delayed.map(([addr]) => addr)).toContain(work);
    workqueue.restore({ ...(later as NonNullable<typeof later>), delayed: kept?.delayed ?? [] });
    expect(workqueue.keep()?.wqs).toEqual(kept?.wqs);
  });

  it("of workqueues: on which of them a work goes when its time comes, where that is not the system's", async () => {
    const { workqueue, core } = world.machine.inspect;
    const pointer = core.symbols.require('system_long_wq');
    const long = core.mem.readU64(pointer);
    const later = async () => {
      const work = world.zeroed(D.size);
      const sleep = await world.kernel('mov edi, 5\ncall schedule_timeout_uninterruptible\nret');
      core.mem.writeU64(work + BigInt(W.fields.func), sleep);
      return work;
    };
    const [onLong, onSystem] = [await later(), await later()];
    const queue = core.host.get('queue_delayed_work_on');
    const system = core.mem.readU64(core.symbols.require('system_wq'));
    for (const [wq, work, delay] of [
      [long, onLong, 10n],
      [system, onSystem, 30n],
    ])
      queue?.({ cpu: 0, args: [0n, wq, work, delay], sp: 0n, caller: 0n });
    const kept = structuredClone(workqueue.keep()) as NonNullable<ReturnType<typeof workqueue.keep>>;
    workqueue.restore(kept);
    expect(workqueue.keep()).toEqual(kept);
    const working = () =>
      [...core.tasks.processes()]
        .map((task) => workqueue.suffix(task))
        .filter((text) => text.startsWith('+'));
    const seen = [];
    for (let i = 0; i < 2; i++) {
      expect(world.machine.runUntil(() => working().length > 0, 400 * MS)).toBe(true);
      seen.push(...working());
      expect(world.machine.runUntil(() => working().length === 0, 100 * MS)).toBe(true);
    }
    expect(seen).toEqual(['+events_long', '+events']);
  });
});
