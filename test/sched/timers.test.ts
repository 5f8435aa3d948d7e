// Time: sleeps, struct timer_list, and the order in which what is due happens.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN, tickNs } from '../../src/kernel/description.ts';
import { MS, World } from './world.ts';

const TICK_NS = tickNs(BUILT_IN);

const LAYOUT = BUILT_IN.structs;

/** What a tick's handler takes until it wakes somebody. Virtual ns. */
const HANDLER = 0.1 * MS;

let world: World;
beforeEach(async () => {
  world = await World.boot({ cpus: 1 });
});
afterEach(() => world.close());

const tickAfter = (ns: number, ticks: number) => (Math.floor(ns / TICK_NS) + ticks) * TICK_NS;

describe('what is left of a timeout', () => {
  it('is the jiffies until then, and none where it is over', () => {
    const { core } = world.machine.inspect;
    world.machine.runFor(20 * MS);
    const now = world.machine.inspect.timers.jiffies();
    const left = (at: bigint) =>
      core.host.get('jiffies_left')?.({ cpu: 0, args: [BigInt.asUintN(64, at)], sp: 0n, caller: 0n });
    expect([now + 5n, now, now - 1n, now - 100n].map(left)).toEqual([5n, 0n, 0n, 0n]);
  });
});

describe('a sleep', () => {
  it('that is over before it has begun leaves its task running, as its state says', async () => {
    const fn = await world.kernel(
      `push rbx\nmov rbx, rdi\nxor edi, edi\ncall do_nanosleep\nmov rax, gs:[$current_task]
       mov eax, [rax+${LAYOUT.task_struct.fields.__state}]\nmov [rbx], eax\nxor eax, eax\npop rbx\nret`,
    );
    const shared = world.zeroed(8);
    world.machine.inspect.core.mem.writeU32(shared, 0xffffffff);
    expect(world.untilGone([world.thread(fn, shared)])).toBe(true);
    expect(world.u32(shared)).toBe(0);
  });

  it.each([
    ['msleep', 1, 3],
    ['msleep', 4, 3],
    ['msleep', 5, 4],
    ['msleep', 100, 27],
    ['schedule_timeout_uninterruptible', 1, 2],
    ['schedule_timeout_interruptible', 7, 8],
    // In a bucket of eight jiffies, of 4294892296, which is one, on.
    ['schedule_timeout_interruptible', 63, 64],
    ['schedule_timeout_interruptible', 64, 72],
    ['schedule_timeout_uninterruptible', 250, 256],
  ])('%s(%i) ends at a tick, %i from the one it began after', (fn, arg, ticks) => {
    world.machine.runFor(1.3 * MS);
    const began = world.machine.now();
    const task = world.thread(fn, arg);
    const { pid } = task;
    expect(world.untilGone([task])).toBe(true);
    const [woken] = world.of('wakeup').filter((e) => e.pid === pid && e.t > began + HANDLER);
    expect(woken.t - tickAfter(began, ticks)).toBeGreaterThanOrEqual(0);
    expect(woken.t - tickAfter(began, ticks)).toBeLessThan(HANDLER);
  });

  it.each([
    [100, 95, 12],
    [500, 7, 6],
    [1000, 7, 9],
  ])('at %i Hz: msleep(%i) ends at a tick, %i from the one it began after', async (HZ, ms, ticks) => {
    const kernel = { ...BUILT_IN, constants: { ...BUILT_IN.constants, HZ } };
    const other = await World.boot({ cpus: 1 }, kernel);
    try {
      other.machine.runFor(0.3 * MS);
      const ns = tickNs(kernel);
      const began = other.machine.now();
      const task = other.thread('msleep', ms);
      const { pid } = task;
      expect(other.untilGone([task])).toBe(true);
      const [woken] = other.of('wakeup').filter((e) => e.pid === pid && e.t > began + HANDLER);
      const due = (Math.floor(began / ns) + ticks) * ns;
      expect(woken.t - due).toBeGreaterThanOrEqual(0);
      expect(woken.t - due).toBeLessThan(HANDLER);
    } finally {
      other.close();
    }
  });

  it('of nanoseconds ends when they have passed, and not before, on a CPU that idles', () => {
    const began = world.machine.now();
    const task = world.thread('hrtimer_nanosleep', 1_234_567);
    const { pid } = task;
    expect(world.untilGone([task])).toBe(true);
    const [woken] = world.of('wakeup').filter((e) => e.pid === pid && e.t > began + HANDLER);
    expect(woken.t - began).toBeGreaterThan(1_234_567);
    expect(woken.t - began).toBeLessThan(1_234_567 + 2 * HANDLER);
  });

  it('ends at the next tick on a CPU that is busy', () => {
    world.machine.spawn('spin');
    world.machine.runFor(10 * MS);
    const task = world.thread('hrtimer_nanosleep', 500_000);
    const { pid } = task;
    expect(world.untilAsleep(task)).toBe(true);
    const asleep = world.machine.now();
    expect(world.untilGone([task])).toBe(true);
    const [woken] = world.of('wakeup').filter((e) => e.pid === pid && e.t > asleep);
    expect(woken.t % TICK_NS).toBeLessThan(HANDLER);
  });

  it('that is over wakes in the order of what is due, and of what began first', () => {
    const ticks = [9, 3, 7, 3, 1, 9];
    const tasks = ticks.map((n) => world.thread('schedule_timeout_uninterruptible', n));
    for (const task of tasks) expect(world.untilAsleep(task)).toBe(true);
    const pids = tasks.map((task) => task.pid);
    const from = world.events.length;
    expect(world.untilGone(tasks)).toBe(true);
    const woken = world.events.slice(from).flatMap((e) => (e.type === 'wakeup' ? [e.pid] : []));
    const order = [4, 1, 3, 2, 0, 5].map((i) => pids[i]);
    expect(woken.filter((pid) => pids.includes(pid))).toEqual(order);
  });

  it('cut short leaves no timer behind', () => {
    const task = world.thread('schedule_timeout_interruptible', 1000);
    expect(world.untilAsleep(task)).toBe(true);
    expect(world.machine.inspect.timers.next()).toBeDefined();
    world.machine.inspect.sched.wakeUpProcess(task);
    expect(world.untilGone([task], 1)).toBe(true);
    expect(world.machine.inspect.timers.next()).toBeUndefined();
  });
});

describe('virtual time', () => {
  it('passes for nobody but as asked, when there is nothing to do', () => {
    const now = world.machine.now();
    world.machine.runFor(12_345_678);
    expect(world.machine.now()).toBe(now + 12_345_678);
    expect(world.machine.inspect.loop.idle()).toBe(true);
  });

  it('shows in jiffies, tick by tick', () => {
    world.machine.spawn('spin');
    const { core } = world.machine.inspect;
    const jiffies = () => core.mem.readU64(core.symbols.require('jiffies'));
    world.machine.runFor(10 * MS);
    const [began, at] = [jiffies(), world.machine.now()];
    world.machine.runFor(400 * MS);
    expect(Math.abs(Number(jiffies() - began) - (world.machine.now() - at) / TICK_NS)).toBeLessThanOrEqual(1);
  });
});

describe('a struct timer_list', () => {
  const T = LAYOUT.timer_list.fields;

  it('has its function called once, with the timer, in a softirq', async () => {
    const { core } = world.machine.inspect;
    // void fn(struct timer_list *t): behind the timer, how often, with what, and the preempt_count.
    const fn = await world.kernel(
      `inc dword ptr [rdi+${LAYOUT.timer_list.size}]\nmov [rdi+${LAYOUT.timer_list.size + 8}], rdi\n` +
        `mov eax, gs:[$__preempt_count]\nmov [rdi+${LAYOUT.timer_list.size + 4}], eax\nret`,
    );
    const timer = world.zeroed(LAYOUT.timer_list.size + 16);
    const after = timer + BigInt(LAYOUT.timer_list.size);
    core.mem.writeU64(timer + BigInt(T.function), fn);
    core.mem.writeU64(timer + BigInt(T.expires), world.machine.inspect.timers.jiffies() + 5n);
    const task = world.thread('add_timer', timer);
    const began = world.machine.now();
    expect(world.machine.runUntil(() => world.u32(after) > 0, 100 * MS)).toBe(true);
    expect(world.machine.now() - tickAfter(began, 6)).toBeLessThan(HANDLER);
    world.machine.runFor(100 * MS);
    expect(world.u32(after)).toBe(1);
    expect(core.mem.readU64(after + 8n)).toBe(timer);
    expect(world.u32(after + 4n) & 0xff00).toBe(0x100);
    expect(world.gone(task)).toBe(true);
  });

  it('that is deleted in time is not called', async () => {
    const fn = await world.kernel('ud2');
    const timer = world.zeroed(LAYOUT.timer_list.size);
    const { mem } = world.machine.inspect.core;
    mem.writeU64(timer + BigInt(T.function), fn);
    mem.writeU64(timer + BigInt(T.expires), world.machine.inspect.timers.jiffies() + 5n);
    world.thread('add_timer', timer);
    world.machine.runFor(8 * MS);
    expect(world.machine.inspect.timers.isPending(timer)).toBe(true);
    world.thread('timer_delete_sync', timer);
    world.machine.runFor(100 * MS);
    expect(world.machine.inspect.timers.isPending(timer)).toBe(false);
    expect(world.of('oops')).toEqual([]);
  });
});

describe('the queue of timers', () => {
  it('runs what was added and not deleted, in order of time, then of arming', () => {
    const { timers } = world.machine.inspect;
    const op = fc.record({ key: fc.nat(9), at: fc.nat(20), del: fc.boolean() });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
        const keys = Array.from({ length: 10 }, (_, i) => ({ i }));
        const model = new Map<number, { at: number; seq: number }>();
        const ran: number[] = [];
        ops.forEach(({ key, at, del }, seq) => {
          const armed = model.has(key);
          if (del) expect(timers.del(keys[key])).toBe(model.delete(key));
          else {
            expect(timers.add(keys[key], at, { run: () => ran.push(key) })).toBe(armed);
            model.set(key, { at, seq });
          }
        });
        const order = [...model].sort(([, a], [, b]) => a.at - b.at || a.seq - b.seq);
        expect(timers.next()).toBe(order[0]?.[1].at);
        timers.run(10);
        timers.run(20);
        expect(ran).toEqual(order.map(([key]) => key));
        expect(timers.next()).toBeUndefined();
      }),
    );
  });
});
