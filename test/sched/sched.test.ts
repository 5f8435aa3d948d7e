// Who runs: sharing a CPU, preemption in user and kernel mode, and what holds it off.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BUILT_IN, tickNs } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { MS, World } from './world.ts';

const TICK_NS = tickNs(BUILT_IN);

let world: World;
afterEach(() => world.close());

async function boot(options: MachineOptions): Promise<void> {
  world = await World.boot(options);
}

/** Times the CPU went to the task, and from it by preemption in the kernel. */
function switches(task: TaskStruct): { to: number; preempted: number } {
  const all = world.of('sched');
  const [to, from] = [all.filter((e) => e.next === `${task}`), all.filter((e) => e.prev === `${task}`)];
  return { to: to.length, preempted: from.filter((e) => e.preempted).length };
}

/** Counts at [rdi] for ever. */
const COUNT = '1: inc dword ptr [rdi]\njmp 1b';

describe('tasks that never sleep', () => {
  it('share a CPU by ticks in user mode', async () => {
    await boot({ cpus: 1 });
    const tasks = [0, 1, 2].map((i) => world.machine.spawn('spin', [], { comm: `spin${i}` }));
    world.machine.runFor(300 * TICK_NS);
    const turns = tasks.map((task) => switches(task));
    for (const { to } of turns) expect(to).toBeGreaterThan(40);
    // At the exit to user mode they go by schedule(), which is no preemption.
    expect(turns.map((t) => t.preempted)).toEqual([0, 0, 0]);
  });

  it('share it in kernel mode, where a tick preempts them', async () => {
    await boot({ cpus: 1 });
    const fn = await world.kernel(COUNT);
    const counters = [world.zeroed(8), world.zeroed(8)];
    const tasks = counters.map((counter, i) => world.thread(fn, counter, { comm: `count${i}` }));
    world.machine.runFor(100 * TICK_NS);
    for (const task of tasks) expect(switches(task).preempted).toBeGreaterThan(20);
    const counts = counters.map((counter) => world.u32(counter));
    expect(Math.min(...counts) / Math.max(...counts)).toBeGreaterThan(0.3);
  });

  it('are on a CPU each when there are enough', async () => {
    await boot({ cpus: 3 });
    const tasks = [0, 1, 2].map(() => world.machine.spawn('spin'));
    world.machine.runFor(20 * MS);
    expect(new Set(tasks.map((task) => task.cpu)).size).toBe(3);
    expect(tasks.map((task) => task.onCpu)).toEqual([1, 1, 1]);
  });

  it('are not preempted while preemption is off, nor while interrupts are', async () => {
    await boot({ cpus: 1 });
    const counter = world.zeroed(8);
    const other = world.thread(await world.kernel(COUNT), counter, { comm: 'other' });
    const held = (off: string, on: string) =>
      world.kernel(`${off}\nmov ecx, 100000\n1: dec ecx\njnz 1b\n${on}\nmov dword ptr [rdi], 1\n2: jmp 2b`);
    const fns = [
      await held('inc dword ptr gs:[$__preempt_count]', 'dec dword ptr gs:[$__preempt_count]'),
      await held('cli', 'sti'),
    ];
    for (const [i, fn] of fns.entries()) {
      const done = world.zeroed(8);
      const task = world.thread(fn, done, { comm: `held${i}` });
      expect(world.machine.runUntil(() => world.machine.inspect.sched.curr(0) === task, 200 * MS)).toBe(true);
      const before = world.u32(counter);
      expect(world.machine.runUntil(() => world.u32(done) === 1, 500 * MS)).toBe(true);
      // 200,000 instructions are 20 ticks: nobody else ran in them, or in the few around them.
      expect(world.u32(counter) - before).toBeLessThan(10_000);
      expect(world.machine.runUntil(() => switches(task).preempted > 0, 500 * MS)).toBe(true);
    }
    expect(switches(other).to).toBeGreaterThan(2);
  });
});

describe('a wakeup', () => {
  it('takes an idle CPU to the task at once, by an interrupt', async () => {
    await boot({ cpus: 2 });
    const task = world.thread('schedule_timeout_interruptible', 0x7fffffff);
    expect(world.untilAsleep(task)).toBe(true);
    const from = world.events.length;
    world.machine.inspect.sched.wakeUpProcess(task);
    world.machine.runFor(MS);
    const [woken, on] = world.events.slice(from);
    expect([woken.type, on]).toEqual([
      'wakeup',
      expect.objectContaining({ next: 'thread:5', preempted: false }),
    ]);
    expect(on.t - woken.t).toBeLessThan(0.1 * MS);
  });

  it('that comes before the task has left the CPU is not lost', async () => {
    await boot({ cpus: 2 });
    // Goes to sleep and is woken, over and over, by another that does not look whether it sleeps.
    const counter = world.zeroed(16);
    const sleeper = await world.kernel(
      `push rbx\nmov rbx, rdi\n1: mov rdi, 2000\ncall schedule_timeout_interruptible\n` +
        'inc dword ptr [rbx]\ncmp dword ptr [rbx], 300\njne 1b\npop rbx\nret',
    );
    const task = world.thread(sleeper, counter);
    const waker = world.thread(
      await world.kernel(
        'push rbx\nmov rbx, rdi\n1: mov rdi, rbx\ncall wake_up_process\ncall kthread_should_stop\n' +
          'test eax, eax\njz 1b\npop rbx\nret',
      ),
      task.addr,
    );
    // A lost wakeup would cost 2000 ticks.
    expect(world.machine.runUntil(() => world.u32(counter) === 300, 1000 * MS)).toBe(true);
    world.thread('kthread_stop', waker.addr);
    expect(world.untilGone([waker])).toBe(true);
  });

  it('of a task in another state does nothing', async () => {
    await boot({ cpus: 1 });
    const task = world.thread('msleep', 40);
    expect(world.untilAsleep(task)).toBe(true);
    expect(world.machine.inspect.sched.wakeUpState(task, 1)).toBe(false); // TASK_INTERRUPTIBLE
    expect(world.machine.inspect.sched.wakeUpState(task, 2)).toBe(true); // TASK_UNINTERRUPTIBLE
    expect(world.machine.inspect.sched.wakeUpState(task, 3)).toBe(false);
  });

  it.each([
    ['stays where it was, though another CPU has one less waiting', 2, 0],
    ['goes where fewer wait, by more than one', 3, 1],
  ])('of a task, where all CPUs are busy, %s', async (_, busy, cpu) => {
    await boot({ cpus: 2 });
    const task = world.thread('msleep', 1000);
    expect(world.untilAsleep(task)).toBe(true);
    task.cpu = 0;
    const spin = await world.kernel('1: jmp 1b');
    for (let i = 0; i < busy; i++) world.thread(spin, 0n, { cpu: 0 });
    world.thread(spin, 0n, { cpu: 1 });
    world.machine.runFor(20 * MS);
    world.machine.inspect.sched.wakeUpProcess(task);
    expect(task.cpu).toBe(cpu);
  });

  it('of what is no task reads its state, which is an oops of who wakes it', async () => {
    await boot({ cpus: 1 });
    const { __state } = BUILT_IN.structs.task_struct.fields;
    const [none, entry] = [0xdead0000n, await world.kernel('call wake_up_process\nret')];
    expect(world.untilGone([world.thread(entry, none)])).toBe(true);
    expect(world.machine.dmesg().join('\n')).toContain(
      `BUG: unable to handle page fault for address: ${(none + BigInt(__state)).toString(16).padStart(16, '0')}`,
    );
  });

  it('of a task that says a CPU that is not there reads the offset of its data, which is an oops of who wakes it', async () => {
    await boot({ cpus: 1 });
    const { symbols, kernel } = world.machine.inspect.core;
    const task = world.thread('msleep', 1000);
    expect(world.untilAsleep(task)).toBe(true);
    const [none, at] = [5000, task.addr + BigInt(kernel.structs.task_struct.fields.thread_info_cpu)];
    const wake = await world.kernel(
      `movabs rax, ${at}\nmov dword ptr [rax], ${none}\ncall wake_up_process\nret`,
    );
    expect(world.untilGone([world.thread(wake, task.addr)])).toBe(true);
    const offset = symbols.require('__per_cpu_offset') + 8n * BigInt(none);
    expect(world.machine.dmesg().join('\n')).toContain(
      `BUG: unable to handle page fault for address: ${offset.toString(16)}`,
    );
  });
});

describe('a thread bound to a CPU', () => {
  it('runs there, whoever else does', async () => {
    await boot({ cpus: 3 });
    for (let i = 0; i < 3; i++) world.machine.spawn('spin');
    const fn = await world.kernel(
      'push rbx\nmov rbx, rdi\n1: mov edi, 1\ncall msleep\nmov eax, gs:[$cpu_number]\ninc dword ptr [rbx+rax*4]\njmp 1b',
    );
    const counts = world.zeroed(16);
    world.thread(fn, counts, { cpu: 2 });
    world.machine.runFor(300 * MS);
    expect([0n, 4n].map((at) => world.u32(counts + at))).toEqual([0, 0]);
    expect(world.u32(counts + 8n)).toBeGreaterThan(10);
  });
});

describe('a switch of tasks', () => {
  it('is told to who listens to nothing else', async () => {
    await boot({ cpus: 1 });
    const machine = await Machine.boot({ cpus: 1 });
    try {
      const told: string[] = [];
      machine.events.subscribe((e) => told.push(e.type), ['sched']);
      machine.spawn('pause');
      machine.runFor(50 * MS);
      expect(told.length).toBeGreaterThan(1);
      expect(new Set(told)).toEqual(new Set(['sched']));
    } finally {
      machine.close();
    }
  });
});

describe('a task that is bound to another CPU', () => {
  it('stays on the one that it executes on until it wakes again', async () => {
    await boot({ cpus: 2 });
    const { sched } = world.machine.inspect;
    const task = world.machine.spawn('spin');
    world.machine.runUntil(() => task.onCpu !== 0, 100 * MS);
    const { cpu } = task;
    sched.bind(task, 1 - cpu);
    expect(task.cpu).toBe(cpu);
  });

  it('executes on any where there is no such CPU', async () => {
    await boot({ cpus: 1 });
    const module = join(import.meta.dirname, '../../fixtures/modules/klpdemo_busy.ko');
    world.machine.addFile('/klpdemo_busy.ko', new Uint8Array(readFileSync(module)));
    // Its thread is to be on CPU 1.
    const insmod = world.machine.insmod('/klpdemo_busy.ko', 'spin=10');
    world.machine.runUntil(() => world.machine.exitStatus(insmod) !== undefined, 1000 * MS);
    expect(world.machine.exitStatus(insmod)).toBe(0);
    const { core } = world.machine.inspect;
    const isIts = (): boolean => core.tasks.curr[0].comm === 'klpdemo_busy';
    expect(world.machine.runUntil(isIts, 100 * MS)).toBe(true);
    expect(world.machine.dmesg().join('\n')).not.toContain('BUG:');
  });
});

describe('a task that is held', () => {
  it('is given no CPU until it is let go, and then takes it from who has it', async () => {
    await boot({ cpus: 1 });
    const [held, other] = ['held', 'other'].map((comm) => world.machine.spawn('spin', [], { comm }));
    const { sched, core } = world.machine.inspect;
    sched.hold(held);
    expect(sched.holds).toBe(true);
    world.machine.runFor(20 * TICK_NS);
    const turns = switches(held).to;
    world.machine.runFor(20 * TICK_NS);
    expect([switches(held).to, core.tasks.curr[0]]).toEqual([turns, other]);
    const asked = (): boolean => other.testTif('TIF_NEED_RESCHED');
    expect(world.machine.runUntil(() => core.tasks.curr[0] === other && !asked(), 20 * TICK_NS)).toBe(true);
    sched.letGo(held);
    expect([asked(), sched.holds]).toEqual([true, false]);
    expect(world.machine.runUntil(() => core.tasks.curr[0] === held, 20 * TICK_NS)).toBe(true);
    expect(world.machine.runUntil(() => core.tasks.curr[0] === other && !asked(), 90 * TICK_NS)).toBe(true);
    // Nobody held it any more.
    sched.letGo(held);
    expect(asked()).toBe(false);
  });
});
