// What functions of a real kernel find of tasks and workqueues. The built-in kernel with those members and names of a real one
// that are asked for, each member behind all that it has.

import { afterEach, describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { QUEUES } from '../../src/sched/since.ts';
import { WorkqueueStructs } from '../../src/sched/workqueue_struct.ts';
import { MS, World } from './world.ts';

const OWN = BUILT_IN.structs.task_struct;
const PRIORITIES = ['policy', 'prio', 'static_prio', 'normal_prio', 'rt_priority'] as const;
const FROM_INIT = ['cred', 'real_cred', 'cgroups', 'sighand'] as const;
const MASKS = ['cpus_ptr', 'cpus_mask', 'migration_pending'] as const;
const MEMBERS = ['worker_private', ...PRIORITIES, ...FROM_INIT, ...MASKS] as const;
/** Where it is in a task; 8 bytes each. */
const AT = Object.fromEntries(MEMBERS.map((name, i) => [name, OWN.size + 8 * i])) as Record<
  (typeof MEMBERS)[number],
  number
>;
const TASK_SIZE = OWN.size + 8 * MEMBERS.length;
/** As in 6.1. */
const KTHREAD = { size: 96, fields: { flags: 0, threadfn: 16, data: 24 }, bitfields: {} };
const FPU = { size: 64, fields: { fpstate: 8, __fpstate: 16 }, bitfields: {} };

let world: World;
afterEach(() => world.close());

/** @param fpu registers behind a task, as from 6.16 on, and not in it */
async function boot(fpu?: 'behind', release = BUILT_IN.release): Promise<void> {
  const { thread_fpu_fpstate, thread_fpu___fpstate, ...others } = OWN.fields;
  const fields = { ...others, ...(fpu ? {} : { thread_fpu_fpstate, thread_fpu___fpstate }), ...AT };
  const structs = {
    ...BUILT_IN.structs,
    task_struct: { ...OWN, size: TASK_SIZE, fields },
    kthread: KTHREAD,
    fpu: FPU,
  };
  world = await World.boot({ cpus: 1 }, { ...BUILT_IN, release, structs } as unknown as KernelDescription);
}

/** Gives the image names, each for 64 bytes or for code. */
function named(...names: (string | readonly [string, Addr])[]): void {
  const { symbols } = world.machine.inspect.core;
  const own = [...symbols.all()].filter(({ module }) => module === undefined);
  const more = names.map((name) => {
    const [text, addr] = typeof name === 'string' ? [name, world.zeroed(64)] : name;
    return { name: text, addr, size: 16, type: 'D' };
  });
  symbols.add(undefined, [...own, ...more]);
}

const u64 = (addr: Addr) => world.machine.inspect.core.mem.readU64(addr);
/** What of init a task is given, each an object of its own, and init itself, which may be on any CPU. */
const INIT = ['nsproxy', 'fs', 'cred', 'css_set', 'signals', 'sighand'].map((name) => `init_${name}`);
const ALL_CPUS = 0xffn;
function withInit(): void {
  const init = world.zeroed(TASK_SIZE);
  world.machine.inspect.core.mem.writeU64(init + BigInt(AT.cpus_mask), ALL_CPUS);
  named(...INIT, ['init_task', init]);
}

/** Calls a function that only images of real kernels have. */
const call = (name: string, ...args: Addr[]) =>
  world.machine.inspect.core.host.get(name)?.({ cpu: 0, args, sp: 0n, caller: 0n });

describe('a kernel thread that is stopped', () => {
  const [SHOULD_STOP, SHOULD_PARK] = [2n, 4n];

  /** Stops a thread that has a struct kthread with these flags. @returns its flags as it saw them, and who was unparked */
  async function stop(flags: bigint) {
    await boot();
    const { core, kthreads, sched } = world.machine.inspect;
    const [unparked, struct] = [world.zeroed(8), world.zeroed(KTHREAD.size)];
    named(['kthread_unpark', await world.kernel(`movabs rax, ${unparked}\nmov [rax], rdi\nret`)]);
    core.mem.writeU64(struct, flags);
    const loop = await world.kernel(
      'push rbx\nmov rbx, rdi\n1: mov edi, 5\ncall schedule_timeout_interruptible\ncall kthread_should_stop\n' +
        'test eax, eax\njz 1b\nmov eax, [rbx]\npop rbx\nret',
    );
    const task = kthreads.create(loop, struct, 'stopped');
    core.mem.writeU64(task.addr + BigInt(AT.worker_private), struct);
    sched.wakeUpProcess(task);
    expect(world.untilAsleep(task)).toBe(true);
    const seen = world.zeroed(8);
    const stopper = await world.kernel(
      `movabs rdi, ${task.addr}\ncall kthread_stop\nmovabs rcx, ${seen}\nmov [rcx], eax\nret`,
    );
    expect(world.untilGone([world.thread(stopper), task])).toBe(true);
    return { flags: BigInt(world.u32(seen)), unparked: u64(unparked), task: task.addr };
  }

  it('finds so in its struct kthread', async () => {
    expect(await stop(0n)).toMatchObject({ flags: SHOULD_STOP, unparked: 0n });
  });

  it('is unparked where it is to park', async () => {
    const { flags, unparked, task } = await stop(SHOULD_PARK);
    expect([flags, unparked]).toEqual([SHOULD_PARK | SHOULD_STOP, task]);
  });
});

describe('a kernel thread that is made', () => {
  const ENOMEM = BigInt.asUintN(64, -BigInt(UAPI.ENOMEM));

  /** By a kernel whose set_kthread_struct() does so. @returns what kthread_create_on_node() gave, the function and its argument, memory in use before */
  async function make(setKthreadStruct: () => string) {
    await boot();
    const [name, answer, ran] = [world.zeroed(16), world.zeroed(8), world.zeroed(8)];
    const { core } = world.machine.inspect;
    core.mem.writeCString(name, 'made');
    named(['set_kthread_struct', await world.kernel(setKthreadStruct())]);
    const fn = await world.kernel('mov dword ptr [rdi], 1\nret');
    const create = await world.kernel(
      `movabs rdi, ${fn}\nmovabs rsi, ${ran}\nmov edx, -1\nmovabs rcx, ${name}\nxor eax, eax\n` +
        `call kthread_create_on_node\nmovabs rcx, ${answer}\nmov [rcx], rax\nret`,
    );
    const used = core.slab.used();
    world.thread(create);
    expect(world.machine.runUntil(() => u64(answer) !== 0n, 100 * MS)).toBe(true);
    return { result: u64(answer), fn, ran, used };
  }

  it('has a struct kthread that says what it runs, and which goes with it', async () => {
    let struct = 0n;
    const { result, fn, ran } = await make(() => {
      struct = world.zeroed(KTHREAD.size);
      return `movabs rcx, ${struct}\nmov [rdi+${AT.worker_private}], rcx\nmov eax, 1\nret`;
    });
    const { core, sched } = world.machine.inspect;
    const { threadfn, data } = KTHREAD.fields;
    expect([threadfn, data].map((member) => u64(struct + BigInt(member)))).toEqual([fn, ran]);
    const task = core.tasks.byAddr(result) as TaskStruct;
    const isThere = () => [...core.slab.live()].some(({ addr }) => addr === struct);
    expect([task.comm, isThere()]).toEqual(['made', true]);
    sched.wakeUpProcess(task);
    expect(world.untilGone([task])).toBe(true);
    expect([world.u32(ran), isThere()]).toEqual([1, false]);
  });

  it('ends without having run where there is no memory for its struct', async () => {
    const { result, ran, used } = await make(() => 'xor eax, eax\nret');
    expect(result).toBe(ENOMEM);
    world.machine.runFor(50 * MS);
    const { core } = world.machine.inspect;
    expect(world.u32(ran)).toBe(0);
    expect([...core.tasks.processes()].filter(({ comm }) => comm === 'made')).toEqual([]);
    expect(core.slab.used()).toBe(used);
  });
});

describe('a task', () => {
  const { fs, nsproxy, signal, usage } = OWN.fields;
  const create = () => world.machine.inspect.kthreads.create(0n, 0n, 'new');
  const member = (task: TaskStruct, at: number) => u64(task.addr + BigInt(at));

  it('has what init has, a reference of its own, and the priority of nice 0', async () => {
    await boot();
    withInit();
    const task = create();
    const { symbols } = world.machine.inspect.core;
    const { cred, real_cred, cgroups, sighand, cpus_ptr, cpus_mask } = AT;
    const found = [nsproxy, fs, cred, real_cred, cgroups, signal, sighand].map((at) => member(task, at));
    const objects = ['nsproxy', 'fs', 'cred', 'cred', 'css_set', 'signals', 'sighand'];
    expect(found).toEqual(objects.map((name) => symbols.require(`init_${name}`)));
    expect([member(task, cpus_ptr), member(task, cpus_mask)]).toEqual([
      task.addr + BigInt(cpus_mask),
      ALL_CPUS,
    ]);
    expect(world.u32(task.addr + BigInt(usage))).toBe(2);
    expect(PRIORITIES.map((name) => member(task, AT[name]))).toEqual([0n, 120n, 120n, 120n, 0n]);
  });

  it('has a pointer to its registers, which are in it or behind it', async () => {
    await boot();
    withInit();
    const inside = create();
    const { thread_fpu_fpstate, thread_fpu___fpstate } = OWN.fields;
    expect(member(inside, thread_fpu_fpstate)).toBe(inside.addr + BigInt(thread_fpu___fpstate));
    world.close();
    await boot('behind');
    withInit();
    const behind = create();
    const { fpstate, __fpstate } = FPU.fields;
    expect(member(behind, TASK_SIZE + fpstate)).toBe(behind.addr + BigInt(TASK_SIZE + __fpstate));
  });
});

describe('__sched_setscheduler()', () => {
  const [NORMAL, FIFO, RR, BATCH, IDLE, NO_POLICY] = [0, 1, 2, 3, 5, 4];

  /** Of a task of nice 0. @returns its policy, prio, static_prio, normal_prio and rt_priority; or the error */
  async function set(policy: number, nice: number, priority: number): Promise<number[] | number> {
    await boot();
    withInit();
    const { mem } = world.machine.inspect.core;
    const task = world.machine.inspect.kthreads.create(0n, 0n, 'asked');
    const values = () => PRIORITIES.map((name) => world.u32(task.addr + BigInt(AT[name])));
    const before = values();
    const attr = world.zeroed(48); // struct sched_attr
    for (const [at, value] of [
      [4n, policy],
      [16n, nice],
      [20n, priority],
    ] as const)
      mem.writeU32(attr + at, value >>> 0);
    const result = call('__sched_setscheduler', task.addr, attr, 0n, 0n);
    if (result === 0) return values();
    expect(values()).toEqual(before);
    return result as number;
  }

  it.each([
    ['fair', NORMAL, -5, 0, [NORMAL, 115, 115, 115, 0]],
    ['fair', BATCH, 19, 0, [BATCH, 139, 139, 139, 0]],
    ['idle, which keeps its static priority', IDLE, 10, 0, [IDLE, 130, 120, 120, 0]],
    ['real-time', FIFO, 0, 1, [FIFO, 98, 120, 98, 1]],
    ['real-time', RR, 0, 99, [RR, 0, 120, 0, 99]],
  ])('makes a task %s: policy %i, nice %i, priority %i', async (_, policy, nice, priority, values) => {
    expect(await set(policy, nice, priority)).toEqual(values);
  });

  it.each([
    ['a policy that there is not', NO_POLICY, 0],
    ['real-time without a priority', FIFO, 0],
    ['a priority beyond the last', RR, 100],
    ['a priority without real-time', NORMAL, 1],
    ['a priority beyond the last without real-time', NORMAL, 100],
  ])('refuses %s: policy %i, priority %i', async (_, policy, priority) => {
    expect(await set(policy, 0, priority)).toBe(-UAPI.EINVAL);
  });
});

describe('work_busy()', () => {
  const [PENDING, RUNNING] = [1, 2];

  it('says that an item is queued, that it runs, or both', async () => {
    await boot();
    const { workqueue, core } = world.machine.inspect;
    const work = world.zeroed(BUILT_IN.structs.delayed_work.size);
    const sleep = await world.kernel('mov edi, 5\ncall schedule_timeout_uninterruptible\nret');
    core.mem.writeU64(work + BigInt(BUILT_IN.structs.work_struct.fields.func), sleep);
    expect(call('work_busy', work)).toBe(0);
    workqueue.queueWork(work);
    expect(call('work_busy', work)).toBe(PENDING);
    expect(world.machine.runUntil(() => call('work_busy', work) === RUNNING, 10 * MS)).toBe(true);
    workqueue.queueWork(work);
    expect(call('work_busy', work)).toBe(PENDING | RUNNING);
    expect(world.machine.runUntil(() => call('work_busy', work) === 0, 100 * MS)).toBe(true);
  });
});

describe('a workqueue', () => {
  const longest = 'events_freezable_power_efficient';

  it.each([
    ['6.1.0', 'system_freezable_power_efficient_wq', 'events_freezable_power_'],
    [QUEUES.longNames.release, 'system_freezable_power_efficient_wq', 'events_freezable_pwr_efficient'],
    ['6.1.0', 'system_power_efficient_wq', 'events_power_efficient'],
    ['6.1.0', 'system_highpri_wq', 'events_highpri'],
    ['6.1.0', 'system_freezable_wq', 'events_freezable'],
    ['6.12.117', 'system_bh_wq', 'events_bh'],
    ['6.12.117', 'system_bh_highpri_wq', 'events_bh_highpri'],
    ['7.3.4', 'system_percpu_wq', 'events'],
    ['7.3.4', 'system_dfl_wq', 'events_unbound'],
    ['7.3.4', 'system_dfl_long_wq', 'events_dfl_long'],
  ])('of %s, %s, is called %s', async (release, name, wqName) => {
    await boot(undefined, release);
    const pointer = world.zeroed(8);
    named([name, pointer]);
    const queues = new WorkqueueStructs(world.machine.inspect.core);
    queues.startReal();
    expect(queues.at(u64(pointer)).name).toBe(wqName);
    expect(world.machine.dmesg().join('\n')).not.toContain('WQ_NAME_LEN');
  });

  it.each([
    ['6.1.0', 23, 0],
    [QUEUES.longNames.release, 31, 1],
  ])(
    'of %s has a name of at most %i characters, and a cut is warned of %i times',
    async (release, length, times) => {
      await boot(undefined, release);
      const queues = new WorkqueueStructs(world.machine.inspect.core);
      const [first, second] = [queues.alloc(longest, 0, 0), queues.alloc(`x${longest}`, 0, 0)];
      expect(queues.at(first).name).toBe(longest.slice(0, length));
      expect(queues.at(second).name).toBe(`x${longest}`.slice(0, length));
      const said = world.machine.dmesg().filter((line) => line.includes('WQ_NAME_LEN'));
      expect(said.map((line) => line.replace(/^\[.*?\] /, ''))).toEqual(
        Array(times).fill(`workqueue: name exceeds WQ_NAME_LEN. Truncating to: ${longest.slice(0, length)}`),
      );
    },
  );
});
