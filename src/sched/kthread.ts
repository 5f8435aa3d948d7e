// Kernel threads. Mirrors kernel/kthread.c; kthreadd makes them at once instead of being asked.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import { KernelError } from '../kernel/errno.ts';
import { SlabError } from '../kernel/slab.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FormatContext, vsprintfGuest } from '../kernel/vsprintf.ts';
import type { Awaited } from './awaited.ts';
import type { Sched } from './core.ts';
import type { Exit } from './exit.ts';
import type { Fork } from './fork.ts';
import type { Locking } from './locking.ts';

interface Kthread {
  shouldStop: boolean;
  result: number;
  /** { threadfn, data } until kthread() has read it. */
  request: Addr;
  /** A struct completion in guest memory: done when the thread is gone. */
  readonly exited: Addr;
}

export class Kthreads {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  readonly #request: Structs['kthread_create_info'];
  readonly #sched: Sched;
  readonly #fork: Fork;
  readonly #locking: Locking;
  readonly #threads = new Map<TaskStruct, Kthread>();
  readonly #kthread: Addr;

  constructor(
    core: KernelCore,
    sched: Sched,
    fork: Fork,
    exit: Exit,
    locking: Locking,
    format: FormatContext,
  ) {
    this.#core = core;
    this.#constants = core.kernel.constants;
    core.host.keeps('kthreads', this);
    this.#request = core.kernel.structs.kthread_create_info;
    this.#sched = sched;
    this.#fork = fork;
    this.#locking = locking;
    this.#kthread = core.symbols.require('kthread');
    exit.onExit.push((task) => this.#exited(task));
    const stop = (call: HostCall) => this.#stop(call);
    core.host.defineAll({
      kthread_create_on_node: (call) => {
        const [fn, data, , fmt] = call.args;
        const task = this.#tryCreate(
          fn,
          data,
          vsprintfGuest(format, fmt, format.varargs.callArgs(core.mem, call, 4)),
        );
        return typeof task === 'number' ? negErrno(task) : task.addr;
      },
      kthread_start: (call) => this.#start(core.currentOf(call)),
      kthread_set_result: (call) => {
        const thread = this.#threads.get(core.currentOf(call));
        if (thread) thread.result = Number(BigInt.asIntN(32, call.args[1]));
      },
      kthread_should_stop: (call) => this.#threads.get(core.currentOf(call))?.shouldStop ?? false,
      kthread_stop: stop,
      kthread_bind: ({ args }) => sched.bind(sched.taskAt(args[0]), Number(BigInt.asUintN(32, args[1]))),
    });
  }

  keep(): [Addr, Kthread][] {
    return [...this.#threads].map(([{ addr }, thread]) => [addr, thread]);
  }
  restore(kept: readonly [Addr, Kthread][]): void {
    this.#threads.clear();
    for (const [addr, thread] of kept)
      this.#threads.set(this.#core.tasks.byAddr(addr) as TaskStruct, { ...thread });
  }

  /** kthread() has read its request: the block goes. */
  #start(task: TaskStruct): void {
    const thread = this.#threads.get(task);
    if (!thread || thread.request === 0n) return;
    this.#core.slab.free(thread.request);
    thread.request = 0n;
  }

  /** @returns a positive errno without memory, or without room for another task. */
  #tryCreate(fn: Addr, data: Addr, comm: string): TaskStruct | number {
    try {
      return this.create(fn, data, comm);
    } catch (error) {
      if (error instanceof SlabError && error.code === 'ENOMEM') return UAPI.ENOMEM;
      if (error instanceof KernelError) return error.errno;
      throw error;
    }
  }

  /** kthread_create(): stopped until the first wake_up_process(). */
  create(fn: Addr, data: Addr, comm: string, cpu?: number, worker = false): TaskStruct {
    const { slab, mem, tasks } = this.#core;
    const exited = slab.alloc(this.#core.kernel.structs.completion.size, worker ? 'worker' : 'kthread');
    const request = slab.tryAlloc(this.#request.size, worker ? 'worker' : 'kthread_create_info');
    if (request === 0n) {
      slab.free(exited);
      throw new SlabError('ENOMEM', `no memory for the request of ${comm}`);
    }
    mem.writeU64(request + BigInt(this.#request.fields.threadfn), fn);
    mem.writeU64(request + BigInt(this.#request.fields.data), data);
    let task: TaskStruct;
    try {
      task = this.#fork.createKernelThread(this.#kthread, request, comm, tasks.byPid(2), worker);
    } catch (error) {
      slab.free(exited);
      slab.free(request);
      throw error;
    }
    task.state = this.#constants.TASK_UNINTERRUPTIBLE;
    this.#threads.set(task, { shouldStop: false, result: 0, request, exited });
    if (cpu !== undefined) this.#sched.bind(task, cpu);
    return task;
  }

  get awaited(): Awaited {
    return this.#locking.awaited;
  }

  #exited(task: TaskStruct): void {
    const thread = this.#threads.get(task);
    if (!thread) return;
    this.#locking.complete(thread.exited);
    if (!thread.shouldStop) this.#forget(task, thread);
  }

  #forget(task: TaskStruct, thread: Kthread): void {
    this.#core.slab.free(thread.exited);
    this.#threads.delete(task);
  }

  /** kthread_stop(): tells it, wakes it, waits until it is gone; returns what it returned. */
  *#stop(call: HostCall): HostGenerator<number> {
    const task = this.#core.tasks.byAddr(call.args[0]);
    const thread = task && this.#threads.get(task);
    if (!task || !thread) return -UAPI.EINTR;
    thread.shouldStop = true;
    this.#sched.wakeUpState(task, this.#constants.TASK_NORMAL);
    const current = this.#core.currentOf(call);
    const wait = { call: this.#core.symbols.require('wait_for_completion'), args: [thread.exited] };
    yield* this.#locking.awaited.during(
      current,
      call,
      () => task,
      function* () {
        yield wait;
      },
    );
    this.#forget(task, thread);
    return thread.result;
  }
}
