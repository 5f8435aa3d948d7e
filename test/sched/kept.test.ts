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
});
