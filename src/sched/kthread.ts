// Kernel threads. Mirrors kernel/kthread.c; kthreadd makes them at once instead of being asked.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import { initListHead } from '../kernel/list.ts';
import { SlabError } from '../kernel/slab.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FormatContext, vsprintfGuest } from '../kernel/vsprintf.ts';
import type { Awaited } from './awaited.ts';
import type { Sched } from './core.ts';
import type { Exit } from './exit.ts';
import { errnoOf, type Fork } from './fork.ts';
import type { Locking } from './locking.ts';

interface Kthread {
  shouldStop: boolean;
  result: number;
  /** { threadfn, data } until kthread() has read it. */
  request: Addr;
  /** A struct completion in guest memory: done when the thread is gone. */
  readonly exited: Addr;
  /** Nobody has it, and nobody stops it. */
  isGivenUp?: boolean;
}

/** A struct kthread, which a real kernel's own functions look at. */
interface KthreadStruct {
  readonly addr: Addr;
  readonly fields: NonNullable<Structs['kthread']>['fields'];
}

/** Bits of `flags` in struct kthread: KTHREAD_SHOULD_STOP and KTHREAD_SHOULD_PARK, seen in 6.1 to 7.3. */
const [SHOULD_STOP, SHOULD_PARK] = [1n << 1n, 1n << 2n];
/** Of struct kthread, which a task that is none has not: its pointer is NULL. */
const [FLAGS_AT, RESULT_AT] = [0n, 12n];

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
    exit.onFree.push((task) => this.#freeStruct(task));
    const stop = (call: HostCall) => this.#stop(call);
    core.host.offerAll({
      // (function, data, node, format, va_list)
      __kthread_create_on_node: ({ args: [fn, data, , fmt, list] }) =>
        this.#make(fn, data, vsprintfGuest(format, fmt, format.varargs.vaList(core.mem, list))),
    });
    core.host.defineAll({
      kthread_create_on_node: (call) => {
        const [fn, data, , fmt] = call.args;
        return this.#make(fn, data, vsprintfGuest(format, fmt, format.varargs.callArgs(core.mem, call, 4)));
      },
      kthread_start: (call) => this.#start(core.currentOf(call)),
      kthread_set_result: (call) => {
        this.#toKthread(call, RESULT_AT).result = Number(BigInt.asIntN(32, call.args[1]));
      },
      kthread_should_stop: (call) => this.#toKthread(call, FLAGS_AT).shouldStop,
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

  /** to_kthread(current). @param at the member that is wanted @throws GuestMemoryError for a task that is no kernel thread */
  #toKthread(call: HostCall, at: bigint): Kthread {
    const thread = this.#threads.get(this.#core.currentOf(call));
    if (!thread) throw new GuestMemoryError('no struct kthread', at);
    return thread;
  }

  /** kthread() has read its request: the block goes. One that was stopped before it ran never calls its function. */
  *#start(task: TaskStruct): HostGenerator<void> {
    const thread = this.#threads.get(task);
    if (!thread) return;
    if (thread.request !== 0n) this.#core.slab.free(thread.request);
    thread.request = 0n;
    if (!thread.shouldStop) return;
    const args = [negErrno(UAPI.EINTR)];
    yield { call: this.#core.symbols.require('kthread_exit'), args };
  }

  /** @returns the task's address, or an ERR_PTR() */
  *#make(fn: Addr, data: Addr, comm: string): HostGenerator<bigint> {
    const task = this.#tryCreate(fn, data, comm);
    if (typeof task === 'number') return negErrno(task);
    const { mem, symbols } = this.#core;
    const make = symbols.lookupName('set_kthread_struct');
    if (make === undefined) return task.addr;
    if (((yield { call: make, args: [task.addr] }) & 1n) === 0n) return this.#giveUp(task);
    const struct = this.#structOf(task);
    if (struct) {
      mem.writeU64(struct.addr + BigInt(struct.fields.threadfn), fn);
      mem.writeU64(struct.addr + BigInt(struct.fields.data), data);
    }
    return task.addr;
  }

  /** Without memory for what belongs to it: it ends without having run. */
  #giveUp(task: TaskStruct): bigint {
    const thread = this.#threads.get(task);
    if (thread) {
      thread.shouldStop = true;
      thread.isGivenUp = true;
    }
    this.#sched.wakeUpState(task, this.#constants.TASK_NORMAL);
    return negErrno(UAPI.ENOMEM);
  }

  /** The struct kthread that functions of a real kernel look at. */
  #structOf(task: TaskStruct): KthreadStruct | undefined {
    const { task_struct, kthread } = this.#core.kernel.structs;
    const at = task_struct.fields.worker_private;
    if (at === undefined || !kthread || !task.isKthread) return undefined;
    const addr = this.#core.mem.readU64(task.addr + BigInt(at));
    return addr === 0n ? undefined : { addr, fields: kthread.fields };
  }

  /** free_kthread_struct() */
  #freeStruct(task: TaskStruct): void {
    const thread = this.#threads.get(task);
    if (thread && (!thread.shouldStop || thread.isGivenUp)) this.#forget(task, thread);
    const struct = this.#structOf(task);
    if (struct) this.#core.slab.free(struct.addr);
  }

  /** @returns a positive errno without memory, or without room for another task. */
  #tryCreate(fn: Addr, data: Addr, comm: string): TaskStruct | number {
    try {
      return this.create(fn, data, comm);
    } catch (error) {
      return errnoOf(error);
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
    const { wait_task_list } = this.#core.kernel.structs.completion.fields;
    initListHead(this.#core, exited + BigInt(wait_task_list));
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

  #exited(task: TaskStruct): HostGenerator<void> | undefined {
    const thread = this.#threads.get(task);
    return thread && this.#locking.completing(thread.exited);
  }

  #forget(task: TaskStruct, thread: Kthread): void {
    this.#core.slab.free(thread.exited);
    this.#threads.delete(task);
  }

  /** What functions of a real kernel ask, kthread_should_stop_or_park() among them; one that is parked goes on. */
  *#tellStruct(task: TaskStruct): HostGenerator<void> {
    const struct = this.#structOf(task);
    if (!struct) return;
    const at = struct.addr + BigInt(struct.fields.flags);
    const flags = this.#core.mem.readU64(at);
    this.#core.mem.writeU64(at, flags | SHOULD_STOP);
    if ((flags & SHOULD_PARK) !== 0n)
      yield { call: this.#core.symbols.require('kthread_unpark'), args: [task.addr] };
  }

  /** kthread_stop(): tells it, wakes it, waits until it is gone; returns what it returned. */
  *#stop(call: HostCall): HostGenerator<number> {
    const task = [...this.#threads.keys()].find(({ addr }) => addr === call.args[0]);
    const thread = task && this.#threads.get(task);
    if (!task || !thread) return -UAPI.EINTR;
    thread.shouldStop = true;
    yield* this.#tellStruct(task);
    // One that ended by itself is there as long as somebody has a reference to it.
    if (this.#core.tasks.byAddr(task.addr)) this.#sched.wakeUpState(task, this.#constants.TASK_NORMAL);
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
