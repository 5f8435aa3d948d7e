// Tasks that wait for each other: mutexes under contention, completions.

import { afterEach, describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { PAGE_SIZE, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { MachineOptions } from '../../src/machine/machine.ts';
import { MS, World } from './world.ts';

const LAYOUT = BUILT_IN.structs;

let world: World;
afterEach(() => world.close());

async function boot(options: MachineOptions = { cpus: 2 }): Promise<void> {
  world = await World.boot(options);
}

/** Layout of what the threads share: a mutex, then counters. */
const COUNT = LAYOUT.mutex.size;
const INSIDE = COUNT + 4;
const BROKEN = COUNT + 8;
const ROUNDS = 60;

/** ROUNDS times: into the mutex, alone in there for a while, a count that others would disturb, out. */
const contend = (pause: string) => `
push rbx
push r12
push r13
mov rbx, rdi
mov r12d, ${ROUNDS}
1: mov rdi, rbx
call mutex_lock
inc dword ptr [rbx+${INSIDE}]
cmp dword ptr [rbx+${INSIDE}], 1
je 2f
inc dword ptr [rbx+${BROKEN}]
2: mov r13d, [rbx+${COUNT}]
${pause}
inc r13d
mov [rbx+${COUNT}], r13d
dec dword ptr [rbx+${INSIDE}]
mov rdi, rbx
call mutex_unlock
dec r12d
jnz 1b
xor eax, eax
pop r13
pop r12
pop rbx
ret`;

describe('a mutex', () => {
  it.each([
    [1, 1, 'mov edi, 1\ncall schedule_timeout_uninterruptible'],
    [2, 2, 'mov ecx, 3000\n3: dec ecx\njnz 3b'],
    [3, 3, 'call mutex_unlock_nothing'],
  ])('lets one in at a time, and all in the end, on %i CPU(s), seed %i', async (cpus, seed, pause) => {
    await boot({ cpus, seed });
    const shared = world.zeroed(COUNT + 16);
    const fn = await world.kernel(contend(pause.replace('call mutex_unlock_nothing', 'nop')));
    const tasks = [0, 1, 2, 3].map((i) => world.thread(fn, shared, { comm: `contend${i}` }));
    expect(world.untilGone(tasks, 20_000)).toBe(true);
    expect(world.u32(shared + BigInt(COUNT))).toBe(4 * ROUNDS);
    expect(world.u32(shared + BigInt(BROKEN))).toBe(0);
    expect(world.machine.inspect.core.mem.readU64(shared)).toBe(0n);
  });

  it('says in its owner word who holds it, and that somebody waits', async () => {
    await boot();
    const lock = world.zeroed(LAYOUT.mutex.size);
    const hold = await world.kernel(
      'push rbx\nmov rbx, rdi\ncall mutex_lock\nmov edi, 5\ncall schedule_timeout_uninterruptible\nmov rdi, rbx\ncall mutex_unlock\npop rbx\nret',
    );
    const owner = world.thread(hold, lock);
    expect(world.untilAsleep(owner)).toBe(true);
    const word = () => world.machine.inspect.core.mem.readU64(lock);
    expect(word()).toBe(owner.addr);
    const waiter = world.thread(hold, lock);
    expect(world.untilAsleep(waiter)).toBe(true);
    expect(word()).toBe(owner.addr | 1n);
    // Given up, and not taken yet: that somebody waits stands there all the time.
    expect(world.machine.runUntil(() => word() === 1n, 50 * MS)).toBe(true);
    expect(world.untilGone([owner])).toBe(true);
    expect(world.machine.runUntil(() => word() === waiter.addr, 5 * MS)).toBe(true);
    expect(world.untilGone([waiter])).toBe(true);
    expect(word()).toBe(0n);
  });

  it('is tried without waiting, and waited for until a signal', async () => {
    await boot();
    const [lock, results] = [world.zeroed(LAYOUT.mutex.size), world.zeroed(8)];
    const store = async (call: string, at: Addr) =>
      world.kernel(`sub rsp, 8\ncall ${call}\nmovabs rcx, ${at}\nmov [rcx], eax\nadd rsp, 8\nret`);
    const [first, second] = [
      await store('mutex_trylock', results),
      await store('mutex_trylock', results + 4n),
    ];
    for (const fn of [first, second]) expect(world.untilGone([world.thread(fn, lock)])).toBe(true);
    expect([world.u32(results), world.u32(results + 4n)]).toEqual([1, 0]);
    const waiter = world.thread(await store('mutex_lock_interruptible', results), lock);
    expect(world.untilAsleep(waiter)).toBe(true);
    world.machine.inspect.sched.setNotifySignal(waiter);
    expect(world.untilGone([waiter])).toBe(true);
    expect(world.u32(results) | 0).toBe(-4); // -EINTR
  });
});

describe('who waits for a mutex no longer', () => {
  it('is not given it, wherever he stood among those who wait', async () => {
    await boot();
    const lock = world.zeroed(LAYOUT.mutex.size);
    const hold = await world.kernel(
      'push rbx\nmov rbx, rdi\ncall mutex_lock\nmov edi, 5\ncall schedule_timeout_uninterruptible\nmov rdi, rbx\ncall mutex_unlock\npop rbx\nret',
    );
    const owner = world.thread(hold, lock);
    expect(world.untilAsleep(owner)).toBe(true);
    const first = world.thread(hold, lock);
    expect(world.untilAsleep(first)).toBe(true);
    const second = world.thread('mutex_lock_interruptible', lock);
    expect(world.untilAsleep(second)).toBe(true);
    world.machine.inspect.sched.setNotifySignal(second);
    expect(world.untilGone([second, owner, first])).toBe(true);
    expect(world.machine.inspect.core.mem.readU64(lock)).toBe(0n);
  });
});

describe('who died while he waited for a mutex', () => {
  it('is nobody whom its owner would wake', async () => {
    await boot();
    const { mem, sched } = { ...world.machine.inspect, ...world.machine.inspect.core };
    const lock = 0xffffffffc5000000n;
    mem.map(lock, PAGE_SIZE, PROT_READ | PROT_WRITE);
    const hold = await world.kernel(
      'push rbx\nmov rbx, rdi\ncall mutex_lock\nmov edi, 9\ncall schedule_timeout_uninterruptible\nmov rdi, rbx\ncall mutex_unlock\npop rbx\nret',
    );
    const owner = world.thread(hold, lock);
    expect(world.untilAsleep(owner)).toBe(true);
    const waiter = world.thread('mutex_lock', lock);
    expect(world.untilAsleep(waiter)).toBe(true);
    const word = mem.readU64(lock);
    mem.unmap(lock, PAGE_SIZE);
    sched.wakeUpProcess(waiter);
    expect(world.untilGone([waiter])).toBe(true);
    mem.map(lock, PAGE_SIZE, PROT_READ | PROT_WRITE);
    mem.writeU64(lock, word);
    expect(world.untilGone([owner])).toBe(true);
    expect(mem.readU64(lock)).toBe(0n);
  });
});

describe('a completion', () => {
  const DONE = BigInt(LAYOUT.completion.fields.done);

  it('is done, whatever stands in its list, where the kernel has no waiters of its own', async () => {
    await boot({ cpus: 1 });
    const x = world.zeroed(LAYOUT.completion.size);
    const list = x + BigInt(LAYOUT.completion.fields.wait_task_list);
    world.machine.inspect.core.mem.writeU64(list, world.zeroed(64));
    expect(world.untilGone([world.thread('complete', x)])).toBe(true);
    expect(world.u32(x + DONE)).toBe(1);
  });

  it('lets one waiter go for each complete(), in the order they came', async () => {
    await boot({ cpus: 1 });
    const x = world.zeroed(LAYOUT.completion.size);
    const waiters = [0, 1, 2].map((i) => world.thread('wait_for_completion', x, { comm: `waiter${i}` }));
    for (const task of waiters) expect(world.untilAsleep(task)).toBe(true);
    for (let i = 0; i < 3; i++) {
      world.thread('complete', x);
      expect(world.untilGone([waiters[i]], 50)).toBe(true);
      expect(waiters.slice(i + 1).some((task) => world.gone(task))).toBe(false);
    }
    expect(world.u32(x + DONE)).toBe(0);
  });

  it('that is done already makes nobody wait, as often as it was', async () => {
    await boot();
    const x = world.zeroed(LAYOUT.completion.size);
    expect(world.untilGone([world.thread('complete', x), world.thread('complete', x)])).toBe(true);
    expect(world.u32(x + DONE)).toBe(2);
    const waiters = [0, 1, 2].map(() => world.thread('wait_for_completion', x));
    world.machine.runFor(50 * MS);
    expect(waiters.filter((task) => world.gone(task)).length).toBe(2);
  });

  it('lets the next one go where one that waited has died', async () => {
    await boot();
    const { mem, sched } = { ...world.machine.inspect, ...world.machine.inspect.core };
    const page = 0xffffffffc5000000n;
    mem.map(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
    const [dies, waits] = [
      world.thread('wait_for_completion', page),
      world.thread('wait_for_completion', page),
    ];
    for (const task of [dies, waits]) expect(world.untilAsleep(task)).toBe(true);
    mem.unmap(page, PAGE_SIZE);
    sched.wakeUpProcess(dies);
    expect(world.untilGone([dies])).toBe(true);
    mem.map(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
    expect(world.untilGone([world.thread('complete', page), waits])).toBe(true);
  });

  it('lets everybody go for ever by complete_all()', async () => {
    await boot();
    const x = world.zeroed(LAYOUT.completion.size);
    const waiters = [0, 1, 2].map(() => world.thread('wait_for_completion', x));
    for (const task of waiters) expect(world.untilAsleep(task)).toBe(true);
    world.thread('complete_all', x);
    expect(world.untilGone(waiters, 50)).toBe(true);
    expect(world.untilGone([world.thread('wait_for_completion', x)], 50)).toBe(true);
  });

  it('is not waited for after a signal where signals count', async () => {
    await boot();
    const x = world.zeroed(LAYOUT.completion.size);
    const [deaf, hears] = ['wait_for_completion', 'wait_for_completion_interruptible'].map((fn) =>
      world.thread(fn, x),
    );
    for (const task of [deaf, hears]) expect(world.untilAsleep(task)).toBe(true);
    for (const task of [deaf, hears]) world.machine.inspect.sched.setNotifySignal(task);
    world.machine.runFor(20 * MS);
    expect([world.gone(deaf), world.gone(hears)]).toEqual([false, true]);
  });
});

describe('who is told something before he sleeps', () => {
  const { TASK_INTERRUPTIBLE, TASK_KILLABLE, TASK_UNINTERRUPTIBLE } = BUILT_IN.constants;

  it.each([
    ['TIF_SIGPENDING', TASK_INTERRUPTIBLE, true],
    ['TIF_NOTIFY_SIGNAL', TASK_INTERRUPTIBLE, true],
    ['TIF_SIGPENDING', TASK_KILLABLE, false],
    ['TIF_NOTIFY_SIGNAL', TASK_KILLABLE, false],
    ['TIF_SIGPENDING', TASK_UNINTERRUPTIBLE, false],
    ['TIF_NEED_RESCHED', TASK_INTERRUPTIBLE, false],
  ] as const)('by %s: in state %i he does not sleep: %s', async (flag, state, awake) => {
    await boot();
    const at = BigInt(LAYOUT.task_struct.fields.__state);
    const fn = await world.kernel(
      `sub rsp, 8\nmov rax, gs:[$current_task]\nmov dword ptr [rax+${at}], ${state}\ncall schedule\nadd rsp, 8\nret`,
    );
    const { kthreads, sched } = world.machine.inspect;
    const task = kthreads.create(fn, 0n, 'waiter');
    task.setTif(flag);
    sched.wakeUpProcess(task);
    world.machine.runFor(50 * MS);
    expect(world.gone(task)).toBe(awake);
  });
});
