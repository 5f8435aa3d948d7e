// Each program has an address space of its own: what it finds there after a fork, what a switch leaves of the one before,
// and that nothing of it is left when it is gone.

import { afterEach, describe, expect, it } from 'vitest';
import { hi32, PAGE_OFFSET } from '../../src/guest/addr.ts';
import { PAGE_SIZE } from '../../src/guest/memory.ts';
import { USER_STACK_BASE, USER_STACK_SLOT } from '../../src/guest/windows.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

const SECOND = 1e9;
const { task_struct, mm_struct, pt_regs } = BUILT_IN.structs;

let machine: Machine;
afterEach(() => machine?.close());

async function boot(options: MachineOptions = {}): Promise<void> {
  machine = await Machine.boot({ engine: 'core', heap: 8 << 20, maxTasks: 96, ...options });
}

function finish(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 5 * SECOND);
  return machine.exitStatus(task);
}

const mem = () => machine.inspect.core.mem;
const field = (task: TaskStruct, name: 'mm' | 'active_mm') =>
  mem().readU64(task.addr + BigInt(task_struct.fields[name]));
const count = (mm: bigint, name: 'mm_users' | 'mm_count') =>
  mem().readS32(mm + BigInt(mm_struct.fields[name]));
const spaceOf = (task: TaskStruct) =>
  Number(mem().readU64(field(task, 'mm') + BigInt(mm_struct.fields.pgd)) - PAGE_OFFSET) / PAGE_SIZE;
/** The user's stack pointer, where a task entered the kernel. */
const userSp = (task: TaskStruct) =>
  mem().readU64(task.stackTop - BigInt(pt_regs.size) + BigInt(pt_regs.fields.sp));

describe('a forked child', () => {
  it('has its stack at the addresses of its parent, as a copy that is its own', async () => {
    await boot();
    // 7 in the child, through a pointer that the parent left; 5 still in the parent.
    expect(finish(machine.spawn('fork_pointer'))).toBe(16 * 7 + 5);
  });

  it('shares its memory where it was asked for (CLONE_VM)', async () => {
    await boot();
    expect(finish(machine.spawn('clone_vm'))).toBe(9);
  });

  it('has its own among many, on several CPUs, whatever runs between', async () => {
    await boot({ cpus: 3, seed: 11 });
    const tasks = Array.from({ length: 20 }, () => machine.spawn('fork_pointer'));
    const busy = machine.spawn('syscalls');
    expect(tasks.map(finish)).toEqual(tasks.map(() => 16 * 7 + 5));
    expect(machine.exitStatus(busy)).toBeUndefined();
  });

  it('has a copy elsewhere in a machine that has one address space, as with Unicorn', async () => {
    await boot({ protection: false });
    expect(finish(machine.spawn('fork_pointer'))).toBe(16 * 5 + 7);
    expect(finish(machine.spawn('clone_vm'))).toBe(9);
  });
});

describe('programs', () => {
  it('have their stacks at the same addresses, with what is theirs', async () => {
    await boot();
    const tasks = ['one', 'two'].map((text) =>
      machine.spawn('sleep', ['1000', String(text.length)], { comm: text }),
    );
    machine.runFor(0.1 * SECOND);
    const [one, two] = tasks;
    expect(userSp(one)).toBe(userSp(two));
    expect(hi32(userSp(one))).toBe(hi32(USER_STACK_BASE));
    expect(userSp(one) < USER_STACK_BASE + BigInt(USER_STACK_SLOT)).toBe(true);
    expect(spaceOf(one)).not.toBe(spaceOf(two));
  });

  it('are the ones that have an mm; a kernel thread runs in the one that was there', async () => {
    await boot({ cpus: 1 });
    const { tasks, symbols } = machine.inspect.core;
    const kthreads = [...tasks.processes()].filter((task) => task.isKthread);
    expect(kthreads.length).toBeGreaterThan(0);
    for (const task of kthreads) expect(field(task, 'mm')).toBe(0n);
    expect(field(tasks.idle[0], 'active_mm')).toBe(symbols.require('init_mm'));
    const sleeper = machine.spawn('sleep', ['1000']);
    machine.runFor(0.1 * SECOND);
    const mm = field(sleeper, 'mm');
    expect(mm).not.toBe(0n);
    expect(field(sleeper, 'active_mm')).toBe(mm);
    // The idle task has gone on in it.
    expect(field(tasks.idle[0], 'active_mm')).toBe(mm);
    expect([count(mm, 'mm_users'), count(mm, 'mm_count')]).toEqual([1, 2]);
    expect(machine.inspect.smp.cpus[0].context.space).toBe(spaceOf(sleeper));
  });
});

describe('an address space', () => {
  it('goes with the last that uses or borrows it, and is given out again', async () => {
    await boot();
    const round = (): void => {
      expect(finish(machine.spawn('fork_pointer'))).toBe(117);
      expect(finish(machine.spawn('clone_vm'))).toBe(9);
      machine.runFor(0.1 * SECOND);
    };
    round();
    const used = machine.inspect.core.slab.used();
    for (let i = 0; i < 60; i++) round(); // more than there are spaces
    expect(machine.inspect.core.slab.used()).toBe(used);
  });
});
