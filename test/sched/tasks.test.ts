// Birth, death and waiting: fork, exit, wait4, signals, kernel threads; and that nothing is lost.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Stepper } from '../../src/check/stepper.ts';
import { USER_TEXT_BASE } from '../../src/guest/windows.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { KernelError } from '../../src/kernel/errno.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { MS, World } from './world.ts';

const SIGKILL = 9;
const SIGTERM = 15;
const WNOHANG = 1;
const [FORK, WAIT4, KILL, PAUSE, EXIT_GROUP, GETPID, SCHED_YIELD, EXIT] = [57, 61, 62, 34, 231, 39, 24, 60];

let world: World;
beforeEach(async () => {
  world = await World.boot({ cpus: 2 });
});
afterEach(() => world.close());

const sys = (nr: number) => `mov eax, ${nr}\nsyscall`;
const exit = (code: string) => `mov edi, ${code}\n${sys(EXIT_GROUP)}`;
const status = (task: TaskStruct) => world.machine.exitStatus(task);
const ended = (task: TaskStruct) => world.machine.runUntil(() => status(task) !== undefined, 2000 * MS);

describe('fork', () => {
  it('gives the child 0 and the parent the pid, and wait4 the status', async () => {
    // Exits with the child's code, plus 1 when wait4 returned what fork did.
    const task = await world.user(
      `${sys(FORK)}\ntest eax, eax\njz 1f\nmov ebx, eax\nmov edi, eax\nsub rsp, 16\nmov rsi, rsp\nxor edx, edx\n` +
        `xor r10d, r10d\n${sys(WAIT4)}\nmov edi, [rsp]\nshr edi, 8\ncmp eax, ebx\njne 2f\ninc edi\n` +
        `2: mov eax, ${EXIT_GROUP}\nsyscall\n1: ${exit('41')}`,
    );
    const { pid, comm } = task;
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(42);
    const told = world.of('task').filter(({ what }) => what === 'exit');
    expect(told.map(({ code }) => (code ?? 0) >> 8)).toEqual([41, 42]);
    expect(told.at(-1)).toMatchObject({ pid, comm });
  });

  it('yields its CPU by sched_yield(), to another that wants it, and goes on behind it', async () => {
    const one = await World.boot({ cpus: 1 });
    try {
      one.thread(await one.kernel('1: inc rax\njmp 1b'), 0n);
      const task = await one.user(
        `mov ebx, 5\n1: ${sys(SCHED_YIELD)}\ntest eax, eax\njnz 2f\ndec ebx\njnz 1b\n${exit('42')}\n2: ${exit('1')}`,
      );
      const name = `${task}`;
      one.machine.runUntil(() => one.machine.exitStatus(task) !== undefined, 2000 * MS);
      expect(one.machine.exitStatus(task)).toBe(42);
      const itself = one.of('sched').filter(({ prev, preempted }) => prev === name && !preempted);
      expect(itself.length).toBeGreaterThanOrEqual(5);
    } finally {
      one.close();
    }
  });

  it('ends by exit(), with the last eight bits of what it is given', async () => {
    const task = await world.user(`mov edi, 0x12345\n${sys(EXIT)}`);
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(0x45);
  });

  it("copies the stack and the registers, which then are the child's own", async () => {
    const task = await world.user(
      `mov rbx, 5\npush 7\n${sys(FORK)}\ntest eax, eax\njz 1f\nadd qword ptr [rsp], 100\nmov ebx, 100\n` +
        `mov edi, -1\nsub rsp, 16\nmov rsi, rsp\nxor edx, edx\nxor r10d, r10d\n${sys(WAIT4)}\nmov edi, [rsp]\n` +
        `shr edi, 8\n${sys(EXIT_GROUP)}\n1: ${sys(GETPID)}\npop rdi\nadd rdi, rbx\n${sys(EXIT_GROUP)}`,
    );
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(12);
  });

  it('leaves a zombie until its parent waits, without a stack', async () => {
    const task = await world.user(
      `${sys(FORK)}\ntest eax, eax\njz 1f\n${sys(PAUSE)}\n1: ${exit('3')}`,
      'parent',
    );
    const child = () =>
      [...world.machine.inspect.core.tasks.processes()].find((t) => t.comm === 'parent' && t !== task);
    expect(world.machine.runUntil(() => world.machine.inspect.exit.isZombie(child() ?? task), 100 * MS)).toBe(
      true,
    );
    const zombie = child() as TaskStruct;
    world.machine.runFor(10 * MS);
    expect(zombie.stackSlot).toBe(-1);
    const { exit_state } = BUILT_IN.structs.task_struct.fields;
    const state = world.machine.inspect.core.mem.readU32(zombie.addr + BigInt(exit_state));
    expect(state).toBe(BUILT_IN.constants.EXIT_ZOMBIE);
    expect(world.machine.inspect.core.tasks.byPid(zombie.pid)).toBe(zombie);
    world.machine.inspect.exit.sendSignal(task, SIGKILL);
    expect(world.untilGone([task, zombie])).toBe(true);
  });

  // What the kernel itself may write is no place for a user's status: its log, a stack, text of the program.
  it.each([
    ['of the kernel', () => world.machine.inspect.core.symbols.require('init_mm')],
    ['that is not there', () => 0x10n],
    ['that cannot be written', () => USER_TEXT_BASE],
  ])('is waited for, and its status lost with EFAULT, at an address %s', async (_, at) => {
    const addr = at();
    const { mem } = world.machine.inspect.core;
    const before = mem.isMapped(addr, 4) ? mem.readU32(addr) : undefined;
    // 14: EFAULT from the first call, ECHILD (10) from the second
    const wait = (status: string) =>
      `mov edi, -1\n${status}\nxor edx, edx\nxor r10d, r10d\n${sys(WAIT4)}\nneg eax`;
    const task = await world.user(
      `${sys(FORK)}\ntest eax, eax\njz 1f\n${wait(`movabs rsi, ${addr}`)}\nmov ebx, eax\n` +
        `${wait('xor esi, esi')}\nshl ebx, 4\nlea edi, [rbx+rax]\n${sys(EXIT_GROUP)}\n1: ${exit('3')}`,
    );
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(14 * 16 + 10);
    expect(mem.isMapped(addr, 4) ? mem.readU32(addr) : undefined).toBe(before);
  });

  it('is waited for by who asks again and again, also while it has not left its stack', async () => {
    const { fork, core } = world.machine.inspect;
    const children: TaskStruct[] = [];
    fork.onFork.push((_parent, child, copied) => void (copied && children.push(child)));
    // Each child ends at once, while the parent polls on the other CPU.
    const poll = `mov edi, -1\nmov rsi, rsp\nmov edx, ${WNOHANG}\nxor r10d, r10d\n${sys(WAIT4)}`;
    const task = await world.user(
      `sub rsp, 16\nmov ebp, 3\n1: ${sys(FORK)}\ntest eax, eax\njz 3f\nmov ebx, eax\n2: ${poll}\ntest eax, eax\njz 2b\ncmp eax, ebx\n` +
        `jne 4f\ncmp dword ptr [rsp], 0x700\njne 4f\ndec ebp\njnz 1b\n${exit('42')}\n3: ${exit('7')}\n4: ${exit('1')}`,
    );
    let onTheirWay = 0;
    const isOver = () => {
      const child = children.at(-1);
      if (child && child.stackSlot >= 0 && core.tasks.byPid(child.pid) !== child) onTheirWay++;
      return status(task) !== undefined;
    };
    const stepper = new Stepper(world.machine);
    expect(stepper.until(isOver)).toBe(true);
    expect([status(task), stepper.wrong]).toEqual([42, []]);
    expect(onTheirWay).toBeGreaterThan(0);
    expect(world.untilGone(children)).toBe(true);
  });

  it('that has no child makes wait4 fail with ECHILD', async () => {
    const wait = `mov edi, -1\nxor esi, esi\nxor edx, edx\nxor r10d, r10d\n${sys(WAIT4)}`;
    const task = await world.user(`${wait}\nneg eax\nmov edi, eax\n${sys(EXIT_GROUP)}`);
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(10);
  });

  // The first child ends at once, the second after 100,000 instructions, which are 10 ticks.
  it.each([
    ['that it names', 'ebx', 2],
    ['that ends first, of any', '-1', 1],
    ["that ends first, of the caller's group, which is that of all its children", '0', 1],
  ])('has wait4 wait for the child %s', async (_, which, first) => {
    const task = await world.user(
      `${sys(FORK)}\ntest eax, eax\njz 1f\n${sys(FORK)}\ntest eax, eax\njz 2f\nmov ebx, eax\nsub rsp, 16\n` +
        `mov edi, ${which}\nmov rsi, rsp\nxor edx, edx\nxor r10d, r10d\n${sys(WAIT4)}\nmov edi, [rsp]\nshr edi, 8\n` +
        `${sys(EXIT_GROUP)}\n1: ${exit('1')}\n2: mov ecx, 100000\n3: dec ecx\njnz 3b\n${exit('2')}`,
    );
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(first);
  });

  it.each([
    ['an option that there is not', '-1', 4, 'EINVAL'],
    ['the one number that has no other sign', '0x80000000', 0, 'ESRCH'],
  ] as const)('has wait4 refuse %s', async (_, which, options, errno) => {
    const task = await world.user(
      `${sys(FORK)}\ntest eax, eax\njz 1f\nmov edi, ${which}\nxor esi, esi\nmov edx, ${options}\nxor r10d, r10d\n` +
        `${sys(WAIT4)}\nneg eax\nmov edi, eax\n${sys(EXIT_GROUP)}\n1: ${exit('0')}`,
    );
    expect(ended(task)).toBe(true);
    expect(status(task)).toBe(UAPI[errno]);
  });

  it('that fails takes nothing: not even an address space, of which there are as many as tasks', async () => {
    const small = await World.boot({ cpus: 1, maxTasks: 16 });
    try {
      let failures = 0;
      small.machine.inspect.fork.onFork.unshift((_parent, _child, copied) => {
        if (copied && failures++ < 40) throw new KernelError(UAPI.ENOMEM, 'a part of copy_process()');
      });
      const task = await small.user(
        `1: ${sys(FORK)}\ncmp rax, -${UAPI.ENOMEM}\nje 1b\ntest eax, eax\njz 2f\n${exit('42')}\n2: ${exit('0')}`,
      );
      small.machine.runUntil(() => small.machine.exitStatus(task) !== undefined, 2000 * MS);
      expect([small.machine.exitStatus(task), failures]).toEqual([42, 41]);
    } finally {
      small.close();
    }
  });

  it('fails with EAGAIN where there is no stack for another task, and works again once one has gone', async () => {
    const small = await World.boot({ cpus: 1, maxTasks: 16 });
    try {
      const { fork, core, kthreads } = small.machine.inspect;
      // Forks children that sleep until that fails, exits with the error.
      const task = await small.user(
        `1: ${sys(FORK)}\ntest rax, rax\njz 2f\njns 1b\nneg eax\nmov edi, eax\n${sys(EXIT_GROUP)}\n2: ${sys(PAUSE)}`,
      );
      const used = () => core.slab.used();
      small.machine.runUntil(() => small.machine.exitStatus(task) !== undefined, 2000 * MS);
      expect(small.machine.exitStatus(task)).toBe(UAPI.EAGAIN);
      const all = [...core.tasks.processes()].filter(({ comm }) => comm === 'user');
      expect(all.length).toBeGreaterThan(5);
      // The one that exited has left its stack.
      kthreads.create(0n, 0n, 'one_more');
      const before = used();
      const create = () => fork.createKernelThread(0n, 0n, 'too_many', undefined);
      expect(create).toThrow(`the machine was made for ${core.mem.geometry.stacks} stacks: EAGAIN`);
      expect(() => kthreads.create(0n, 0n, 'too_many')).toThrow(KernelError);
      expect(used()).toBe(before);
    } finally {
      small.close();
    }
  });

  it('makes no errno of a mistake of klpemu itself', async () => {
    world.machine.inspect.fork.onFork.unshift((_parent, _child, copied) => {
      if (copied) throw new TypeError('a mistake');
    });
    await world.user(`${sys(FORK)}\n${exit('0')}`);
    expect(() => world.machine.runFor(100 * MS)).toThrow('a mistake');
  });

  it("of a parent that ends first leaves its child to init, which takes note of the child's end", async () => {
    const { core, exit: ends } = world.machine.inspect;
    const task = await world.user(`${sys(FORK)}\ntest eax, eax\njz 1f\n${exit('0')}\n1: ${sys(PAUSE)}`, 'p');
    const { real_parent, parent } = core.kernel.structs.task_struct.fields;
    expect(world.untilGone([task])).toBe(true);
    const [child] = [...core.tasks.processes()].filter(({ comm }) => comm === 'p');
    const init = core.tasks.byPid(1)?.addr;
    expect([real_parent, parent].map((at) => core.mem.readU64(child.addr + BigInt(at)))).toEqual([
      init,
      init,
    ]);
    ends.sendSignal(child, SIGTERM);
    expect(world.untilGone([child])).toBe(true);
  });
});

describe('a signal', () => {
  it('ends a task that sleeps, one that computes, and one that waits for a CPU', () => {
    const sleeps = world.machine.spawn('pause');
    const computes = [0, 1, 2].map(() => world.machine.spawn('spin'));
    expect(world.untilAsleep(sleeps)).toBe(true);
    for (const task of [sleeps, ...computes]) world.machine.inspect.exit.sendSignal(task, SIGTERM);
    expect([sleeps, ...computes].map(ended)).toEqual([true, true, true, true]);
    expect([sleeps, ...computes].map(status)).toEqual([143, 143, 143, 143]);
    expect(world.untilGone([sleeps, ...computes])).toBe(true);
  });

  it('comes by kill(), which fails for nobody', async () => {
    const victim = world.machine.spawn('pause');
    const kill = (pid: number) =>
      `mov edi, ${pid}\nmov esi, ${SIGTERM}\n${sys(KILL)}\nneg eax\nmov edi, eax\n${sys(EXIT_GROUP)}`;
    const [hit, miss] = [await world.user(kill(victim.pid)), await world.user(kill(9999))];
    expect([hit, miss, victim].map(ended)).toEqual([true, true, true]);
    expect([hit, miss, victim].map(status)).toEqual([0, 3, 143]);
  });

  it('does nothing to a kernel thread', () => {
    const task = world.thread('msleep_interruptible', 1000);
    expect(world.untilAsleep(task)).toBe(true);
    world.machine.inspect.exit.sendSignal(task, SIGKILL);
    world.machine.runFor(20 * MS);
    expect(world.gone(task)).toBe(false);
  });

  it('that is only a notification sends the task through the exit to user mode, and it goes on sleeping', () => {
    const task = world.machine.spawn('pause');
    expect(world.untilAsleep(task)).toBe(true);
    const from = world.events.length;
    world.machine.inspect.sched.setNotifySignal(task);
    world.machine.runFor(5 * MS);
    expect(world.events.slice(from).some((e) => e.type === 'wakeup' && e.pid === task.pid)).toBe(true);
    expect(status(task)).toBeUndefined();
    expect([task.state, task.testTif('TIF_NOTIFY_SIGNAL')]).toEqual([1, false]);
  });
});

describe('a kernel thread', () => {
  it('does not run before it is woken', async () => {
    const flag = world.zeroed(8);
    const fn = await world.kernel('mov dword ptr [rdi], 1\nxor eax, eax\nret');
    const task = world.machine.inspect.kthreads.create(fn, flag, 'late');
    world.machine.runFor(50 * MS);
    expect([world.u32(flag), task.state]).toEqual([0, 2]);
    world.machine.inspect.sched.wakeUpProcess(task);
    expect(world.untilGone([task])).toBe(true);
    expect(world.u32(flag)).toBe(1);
  });

  it('is told to stop, and what it returns is what kthread_stop() gives', async () => {
    const stopped = await world.kernel(
      '1: mov edi, 5\ncall schedule_timeout_interruptible\ncall kthread_should_stop\ntest eax, eax\njz 1b\nmov eax, 77\nret',
    );
    const thread = world.thread(stopped, 0n, { comm: 'stopped' });
    const result = world.zeroed(16);
    world.machine.inspect.core.mem.writeU64(result + 8n, thread.addr);
    const stopper = world.thread(
      await world.kernel(
        'push rbx\nmov rbx, rdi\nmov rdi, [rdi+8]\ncall kthread_stop\nmov [rbx], eax\npop rbx\nret',
      ),
      result,
    );
    expect(world.untilGone([thread, stopper], 5)).toBe(true); // it was woken: 5 ticks are 20 ms
    expect(world.u32(result)).toBe(77);
  });

  it.each([
    ['kthread_should_stop', 0],
    ['kthread_exit', 12],
  ])('has what a task that is none has not: %s() finds NULL+%i there', async (fn, at) => {
    const { fork, sched, core } = world.machine.inspect;
    const entry = await world.kernel(`call ${fn}\nret`);
    const task = fork.createKernelThread(entry, 0n, 'no_kthread', core.tasks.byPid(2));
    sched.wakeUpNewTask(task);
    expect(world.untilGone([task])).toBe(true);
    expect(world.machine.dmesg().join('\n')).toContain(
      `BUG: kernel NULL pointer dereference, address: 00000000000000${at.toString(16).padStart(2, '0')}`,
    );
  });

  it('is not made without memory, for whatever of it: ENOMEM, and nothing is left', async () => {
    const { core } = world.machine.inspect;
    const { slab, mem } = core;
    const [name, answer] = [world.zeroed(16), world.zeroed(8)];
    mem.writeCString(name, 'made');
    const create = await world.kernel(
      `mov rsi, rdi\nmov edx, -1\nmovabs rcx, ${name}\nxor eax, eax\ncall kthread_create_on_node\n` +
        `movabs rcx, ${answer}\nmov [rcx], rax\nret`,
    );
    const used = slab.used();
    const failed: string[] = [];
    /** @returns what the call with its n-th allocation failing gave */
    const made = (n: number): bigint => {
      const creator = world.thread(create, core.symbols.require('kthread_should_stop'));
      let left = n;
      slab.fault = (_size, owner) => {
        left--;
        if (left === 0) failed.push(owner);
        return left === 0;
      };
      expect(world.untilGone([creator])).toBe(true);
      slab.fault = undefined;
      return mem.readU64(answer);
    };
    let n = 1;
    while (made(n) === BigInt.asUintN(64, -BigInt(UAPI.ENOMEM))) {
      expect(slab.used()).toBe(used);
      n++;
    }
    expect(failed).toEqual(['kthread', 'kthread_create_info', 'task_struct']);
    const task = core.tasks.byAddr(mem.readU64(answer));
    expect(task?.comm).toBe('made');
    expect(world.untilGone([world.thread('kthread_stop', task?.addr), task as TaskStruct])).toBe(true);
    expect(slab.used()).toBe(used);
  });

  it('that stops and is stopped at once is waited for once', async () => {
    const fn = await world.kernel('mov eax, 5\nret');
    for (let i = 0; i < 20; i++) {
      const thread = world.machine.inspect.kthreads.create(fn, 0n, 'brief');
      world.machine.inspect.sched.wakeUpProcess(thread);
      const stopper = world.thread('kthread_stop', thread.addr);
      expect(world.untilGone([thread, stopper])).toBe(true);
    }
  });
});

describe('the end of tasks', () => {
  it('gives back all memory, stacks and timers', async () => {
    const { machine } = world;
    const round = async () => {
      const users = [
        machine.spawn('forker', ['5', '3']),
        machine.spawn('cat', ['/proc/meminfo']),
        machine.spawn('sleep', ['5', '3']),
        machine.spawn('spin'),
        machine.spawn('pause'),
      ];
      const threads = [world.thread('msleep', 8), world.thread('hrtimer_nanosleep', 1e6)];
      machine.runFor(50 * MS);
      machine.inspect.exit.sendSignal(users[3], SIGKILL);
      machine.inspect.exit.sendSignal(users[4], SIGTERM);
      expect(world.untilGone([...users, ...threads])).toBe(true);
      machine.runFor(50 * MS);
    };
    await round();
    const used = machine.inspect.core.slab.used();
    const [tasks, owners] = [machine.inspect.core.tasks.size, ownersOf()];
    for (let i = 0; i < 8; i++) await round();
    expect(ownersOf()).toEqual(owners);
    expect(machine.inspect.core.slab.used()).toBe(used);
    expect(machine.inspect.core.tasks.size).toBe(tasks);
    expect(machine.inspect.loop.idle()).toBe(true);
    // Slots of stacks are used again: a new task gets a low one.
    expect(machine.spawn('pause').stackSlot).toBeLessThan(20);
  });

  it('makes room for others: more tasks in all than there can be at once', async () => {
    const small = await World.boot({ cpus: 1, maxTasks: 16 });
    for (let i = 0; i < 60; i++) {
      const task = small.machine.spawn('cat', ['/proc/version']);
      expect(small.untilGone([task])).toBe(true);
    }
    small.close();
  });

  function ownersOf(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { owner } of world.machine.inspect.core.slab.live()) counts[owner] = (counts[owner] ?? 0) + 1;
    return counts;
  }
});
