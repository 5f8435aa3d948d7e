// Workqueues: work items run by kworkers. Mirrors kernel/workqueue.c with one pool a CPU and one queue
// behind system_wq, system_long_wq and system_unbound_wq.
//
// work_struct.data keeps the kernel's WORK_STRUCT_PENDING bit; the order of the queue is the host's.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants } from '../kernel/description.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { type FormatContext, vsprintfGuest } from '../kernel/vsprintf.ts';
import type { Sched } from './core.ts';
import type { Kthreads } from './kthread.ts';
import type { Timers } from './timer.ts';
import { type Queue, WorkqueueStructs } from './workqueue_struct.ts';

interface Worker {
  readonly id: bigint;
  readonly task: TaskStruct;
  readonly cpu: number;
  current: Addr | undefined;
  /** worker->current_func: the item itself may be gone while its function runs. */
  func: Addr;
  /** Of what it runs. */
  wq: Queue | undefined;
  /** worker->desc: the workqueue of what it runs, or ran last. */
  desc: string;
}

/** A work item and the workqueue that it was queued on. */
interface Queued {
  readonly work: Addr;
  readonly wq: Queue;
}

interface KeptQueues {
  readonly wqs: readonly [Addr, Queue][];
  /** Works whose time has not come, and where they go: the place in wqs; -1: elsewhere. */
  readonly delayed: readonly [Addr, number][];
  /** What each worker ran last. */
  readonly last: readonly Pick<Worker, 'func' | 'desc'>[];
}

/** What a worker runs, as print_worker_info() shows it. */
interface WorkerInfo {
  readonly wq: string;
  readonly func: Addr;
}

/** WORK_BUSY_PENDING, WORK_BUSY_RUNNING */
const [BUSY_PENDING, BUSY_RUNNING] = [1, 2];

/** Workers a CPU may have; another is made when all are busy and work waits. */
const MAX_WORKERS = 16;

export class Workqueue {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  /** WORK_STRUCT_PENDING */
  readonly #pendingBit: bigint;
  readonly #dataAt: bigint;
  readonly #funcAt: bigint;
  readonly #timerAt: bigint;
  readonly #delayedCpuAt: bigint;
  readonly #sched: Sched;
  readonly #timers: Timers;
  readonly #kthreads: Kthreads;
  readonly #workers: Worker[] = [];
  readonly #queues: Queued[][];
  readonly #wqs: WorkqueueStructs;
  /** Where a delayed work goes when its time comes. */
  readonly #delayed = new Map<Addr, Queue>();
  /** Tasks that wait for a work item to be neither queued nor running. */
  readonly #flushers = new Map<Addr, TaskStruct[]>();

  constructor(core: KernelCore, sched: Sched, timers: Timers, kthreads: Kthreads, format: FormatContext) {
    this.#core = core;
    this.#wqs = new WorkqueueStructs(core);
    this.#constants = core.kernel.constants;
    this.#pendingBit = BigInt(core.kernel.constants.WORK_STRUCT_PENDING);
    this.#dataAt = BigInt(core.kernel.structs.work_struct.fields.data);
    this.#funcAt = BigInt(core.kernel.structs.work_struct.fields.func);
    this.#timerAt = BigInt(core.kernel.structs.delayed_work.fields.timer);
    this.#delayedCpuAt = BigInt(core.kernel.structs.delayed_work.fields.cpu);
    this.#sched = sched;
    this.#timers = timers;
    this.#kthreads = kthreads;
    this.#queues = Array.from({ length: core.cpus }, () => []);
    timers.onDelayedWork = (work) => this.#timerFn(work);
    sched.onTaskSleeping = (task) => this.#workerSleeping(task);
    this.#define();
    core.host.offerAll(this.#realFunctions(format));
    core.host.keeps('workqueues', this);
  }

  /** The workqueues, where nothing waits for a worker and there is the first worker of each CPU alone. */
  keep(): KeptQueues | undefined {
    const isIdle = this.#workers.every(({ current }) => current === undefined);
    const isEmpty = this.#queues.every(({ length }) => length === 0);
    const isWhole = this.#workers.length === this.#core.cpus && this.#flushers.size === 0;
    if (!isIdle || !isEmpty || !isWhole) return undefined;
    const wqs = this.#wqs.keep();
    const delayed = Array.from(this.#delayed, ([work, wq]): [Addr, number] => [
      work,
      wqs.findIndex(([, queue]) => queue === wq),
    ]);
    return { wqs, delayed, last: this.#workers.map(({ func, desc }) => ({ func, desc })) };
  }

  restore({ wqs, delayed, last }: KeptQueues): void {
    this.#wqs.restore(wqs);
    for (const [work, i] of delayed)
      this.#delayed.set(work, i < 0 ? this.#wqs.system : this.#wqs.at(wqs[i][0]));
    this.#workers.forEach((worker, i) => {
      Object.assign(worker, last[i]);
    });
  }

  #define(): void {
    const { host } = this.#core;
    const flush = (call: HostCall) => this.#flush(call.args[0], call);
    const cancel = (call: HostCall) => this.#cancelSync(call.args[0], call, false);
    const cancelDelayed = (call: HostCall) => this.#cancelSync(call.args[0], call, true);
    host.defineAll({
      worker_next_work: ({ args }) => this.#nextWork(args[0]),
      worker_work_done: ({ args }) => this.#workDone(args[0]),
      queue_work_on: ({ args, cpu }) =>
        this.queueWork(args[2], this.#cpu(args[0], cpu), this.#wqs.at(args[1])),
      queue_delayed_work_on: ({ args, cpu }) =>
        this.queueDelayedWork(args[2], Number(args[3]), this.#cpu(args[0], cpu), this.#wqs.at(args[1])),
      mod_delayed_work_on: ({ args, cpu }) =>
        this.modDelayedWork(args[2], Number(args[3]), this.#cpu(args[0], cpu), this.#wqs.at(args[1])),
      delayed_work_timer_fn: ({ args }) => this.#timerFn(args[0] - this.#timerAt),
      cancel_work_sync: cancel,
      cancel_delayed_work_sync: cancelDelayed,
      cancel_delayed_work: ({ args }) => this.#grab(args[0], true),
      flush_work: flush,
      flush_delayed_work: flush,
    });
  }

  /** Makes the first worker of each CPU, and points the system queues at something that is not NULL. */
  start(): void {
    for (let cpu = 0; cpu < this.#core.cpus; cpu++) this.#addWorker(cpu);
    this.#wqs.start();
  }

  /** workqueue_init_early() of a real kernel: the queues that ours alone has not. */
  startReal(): void {
    this.#wqs.startReal();
  }

  #realFunctions(format: FormatContext): Record<string, HostFunction> {
    const { mem } = this.#core;
    return {
      alloc_workqueue: (call) => {
        const name = vsprintfGuest(format, call.args[0], format.varargs.callArgs(mem, call, 3));
        return this.#wqs.alloc(
          name,
          Number(call.args[1] & 0xffffffffn),
          Number(BigInt.asIntN(32, call.args[2])),
        );
      },
      destroy_workqueue: ({ args: [wq] }) => this.#destroy(wq),
      __flush_workqueue: ({ args: [wq] }) => this.#flushAll(wq),
      drain_workqueue: ({ args: [wq] }) => this.#flushAll(wq),
      // (node, wq, work)
      queue_work_node: ({ args, cpu }) => this.queueWork(args[2], cpu, this.#wqs.at(args[1])),
      workqueue_set_max_active: ({ args: [wq, most] }) =>
        this.#wqs.setMaxActive(wq, Number(BigInt.asIntN(32, most))),
      work_busy: ({ args: [work] }) =>
        (this.#pending(work) ? BUSY_PENDING : 0) | (this.#running(work) ? BUSY_RUNNING : 0),
    };
  }

  /** @throws GuestMemoryError where nothing is, as its first look at `wq->list` faults */
  *#destroy(wq: Addr): HostGenerator<void> {
    this.#core.mem.readU64(wq);
    yield* this.#flushAll(wq);
    this.#wqs.free(wq);
  }

  /** Until none of its items is queued or runs, those that they queue counted with them. */
  *#flushAll(wq: Addr): HostGenerator<void> {
    const queue = this.#wqs.at(wq);
    for (;;) {
      const queued = this.#queues.flat().find((one) => one.wq === queue)?.work;
      const work = queued ?? this.#workers.find((worker) => worker.wq === queue)?.current;
      if (work === undefined) return;
      yield* this.#untilDone(work, this.#core.current(this.#core.here()));
    }
  }

  #addWorker(cpu: number): Worker {
    const index = this.#workers.filter((w) => w.cpu === cpu).length;
    const id = BigInt(this.#workers.length + 1);
    const fn = this.#core.symbols.require('worker_thread');
    // Were there no memory, it would be tried again until there is.
    const task = this.#core.faults.without(() =>
      this.#kthreads.create(fn, id, `kworker/${cpu}:${index}`, cpu, true),
    );
    const worker: Worker = { id, task, cpu, current: undefined, wq: undefined, func: 0n, desc: '' };
    this.#workers.push(worker);
    this.#sched.wakeUpProcess(task);
    return worker;
  }

  #cpu(asked: bigint, here: number): number {
    return Number(asked) === this.#constants.WORK_CPU_UNBOUND || Number(asked) >= this.#core.cpus
      ? here
      : Number(asked);
  }

  #pending(work: Addr): boolean {
    return (this.#core.mem.readU64(work + this.#dataAt) & this.#pendingBit) !== 0n;
  }
  #setPending(work: Addr, on: boolean): void {
    const data = this.#core.mem.readU64(work + this.#dataAt);
    this.#core.mem.writeU64(work + this.#dataAt, on ? data | this.#pendingBit : data & ~this.#pendingBit);
  }

  /** queue_work_on(): false when it was queued already. */
  queueWork(work: Addr, cpu = 0, wq = this.#wqs.system): boolean {
    if (this.#pending(work)) return false;
    this.#setPending(work, true);
    this.#insert(work, cpu, wq);
    return true;
  }

  #insert(work: Addr, cpu: number, wq: Queue): void {
    this.#queues[cpu].push({ work, wq });
    this.#wakeWorker(cpu);
  }

  /** wq_worker_sleeping(): while a work item sleeps, another worker sees to what waits behind it. */
  #workerSleeping(task: TaskStruct): void {
    if ((task.flags & this.#constants.PF_WQ_WORKER) === 0) return;
    const worker = this.#workers.find((w) => w.task === task);
    if (worker?.current !== undefined && this.#queues[worker.cpu].length > 0) this.#wakeWorker(worker.cpu);
  }

  #wakeWorker(cpu: number): void {
    const mine = this.#workers.filter((w) => w.cpu === cpu);
    const idle = mine.find((w) => w.current === undefined);
    if (idle) this.#sched.wakeUpState(idle.task, this.#constants.TASK_NORMAL);
    else if (mine.length < MAX_WORKERS) this.#addWorker(cpu);
  }

  /** queue_delayed_work_on(): delay in jiffies. */
  queueDelayedWork(work: Addr, delay: number, cpu = 0, wq = this.#wqs.system): boolean {
    if (this.#pending(work)) return false;
    this.#setPending(work, true);
    this.#core.mem.writeU32(work + this.#delayedCpuAt, cpu);
    if (delay <= 0) {
      this.#insert(work, cpu, wq);
    } else {
      this.#delayed.set(work, wq);
      this.#timers.addWork(work + this.#timerAt, delay, work);
    }
    return true;
  }

  #timerFn(work: Addr): void {
    const wq = this.#delayed.get(work) ?? this.#wqs.system;
    this.#delayed.delete(work);
    this.#insert(work, this.#core.mem.readU32(work + this.#delayedCpuAt) % this.#core.cpus, wq);
  }

  /** mod_delayed_work_on(): true when it was pending. */
  modDelayedWork(work: Addr, delay: number, cpu = 0, wq = this.#wqs.system): boolean {
    const was = this.#grab(work, true);
    this.queueDelayedWork(work, delay, cpu, wq);
    return was;
  }

  /** try_to_grab_pending(): takes it from its timer or queue. */
  #grab(work: Addr, delayed: boolean): boolean {
    if (!this.#pending(work)) return false;
    if (delayed) this.#timers.del(work + this.#timerAt);
    this.#delayed.delete(work);
    for (const queue of this.#queues) {
      const i = queue.findIndex((queued) => queued.work === work);
      if (i >= 0) queue.splice(i, 1);
    }
    this.#setPending(work, false);
    return true;
  }

  #worker(id: bigint): Worker {
    const worker = this.#workers[Number(id) - 1];
    if (!worker) throw new GuestMemoryError('no worker', id);
    return worker;
  }

  #nextWork(id: bigint): bigint {
    const worker = this.#worker(id);
    const queue = this.#queues[worker.cpu];
    const next = queue.findIndex(({ wq }) => wq.active < wq.maxActive);
    if (next < 0) {
      worker.task.state = this.#constants.TASK_IDLE;
      return 0n;
    }
    const [{ work, wq }] = queue.splice(next, 1);
    wq.active++;
    worker.wq = wq;
    worker.desc = wq.name;
    worker.task.state = this.#constants.TASK_RUNNING;
    worker.current = work;
    worker.func = this.#core.mem.readU64(work + this.#funcAt);
    // The function may queue its own work again: it is no longer pending once it runs.
    this.#setPending(work, false);
    return work;
  }

  #workDone(id: bigint): void {
    const worker = this.#worker(id);
    const work = worker.current;
    worker.current = undefined;
    this.#oneLess(worker);
    if (work !== undefined) this.#notifyFlushers(work);
  }

  /** What waits for room in its workqueue has some now, on whatever CPU it waits. */
  #oneLess(worker: Worker): void {
    const { wq } = worker;
    worker.wq = undefined;
    if (!wq) return;
    wq.active--;
    this.#queues.forEach((queue, cpu) => {
      if (cpu !== worker.cpu && queue.some((queued) => queued.wq === wq && wq.maxActive === wq.active + 1))
        this.#wakeWorker(cpu);
    });
  }

  /** schedule_on_each_cpu(): returns when a worker of every CPU has run the function. */
  *scheduleOnEachCpu(fn: Addr): HostGenerator<void> {
    const { mem, slab } = this.#core;
    const works: Addr[] = [];
    // alloc_percpu(): without memory nothing is run, and klp_synchronize_transition() does not ask.
    for (const _ of this.#queues) {
      const work = slab.tryAlloc(this.#core.kernel.structs.work_struct.size, 'schedule_on_each_cpu');
      if (work === 0n) {
        for (const other of works) slab.free(other);
        return;
      }
      works.push(work);
    }
    works.forEach((work, cpu) => {
      mem.writeU64(work + BigInt(this.#core.kernel.structs.work_struct.fields.func), fn);
      this.queueWork(work, cpu);
    });
    for (const work of works) {
      while (this.#pending(work) || this.#running(work)) {
        yield* this.#wait(work, this.#core.current(this.#core.here()));
      }
      slab.free(work);
    }
  }

  #running(work: Addr): boolean {
    return this.#workers.some((w) => w.current === work);
  }

  #notifyFlushers(work: Addr): void {
    for (const task of this.#flushers.get(work) ?? []) this.#sched.wakeUpProcess(task);
    this.#flushers.delete(work);
  }

  /** flush_work(): sleeps until the item is neither queued nor running. */
  *#flush(work: Addr, call: HostCall): HostGenerator<boolean> {
    if (this.#timers.del(work + this.#timerAt)) this.#timerFn(work);
    const waited = this.#pending(work) || this.#running(work);
    const task = this.#core.currentOf(call);
    const worker = () => this.#workerOf(work);
    if (waited) yield* this.#kthreads.awaited.during(task, call, worker, () => this.#untilDone(work, task));
    return waited;
  }

  *#untilDone(work: Addr, task: TaskStruct): HostGenerator<void> {
    while (this.#pending(work) || this.#running(work)) yield* this.#wait(work, task);
  }

  *#cancelSync(work: Addr, call: HostCall, delayed: boolean): HostGenerator<boolean> {
    let was = this.#grab(work, delayed);
    if (!this.#running(work)) return was;
    const task = this.#core.currentOf(call);
    const { awaited } = this.#kthreads;
    return yield* awaited.during(
      task,
      call,
      () => this.#workerOf(work),
      function* (this: Workqueue): HostGenerator<boolean> {
        while (this.#running(work)) {
          yield* this.#wait(work, task);
          was = this.#grab(work, delayed) || was; // it may have queued itself
        }
        return was;
      }.bind(this),
    );
  }

  #workerOf(work: Addr): TaskStruct | undefined {
    return this.#workers.find(({ current }) => current === work)?.task;
  }

  /** Functions of works that are queued, or will be when their time comes. */
  pendingFunctions(): Addr[] {
    const works = [...this.#queues.flat().map(({ work }) => work), ...this.#delayed.keys()];
    return works.map((work) => this.#core.mem.readU64(work + this.#funcAt));
  }

  *#wait(work: Addr, task: TaskStruct): HostGenerator<void> {
    this.#flushers.set(work, [...(this.#flushers.get(work) ?? []), task]);
    task.state = this.#constants.TASK_UNINTERRUPTIBLE;
    yield { call: this.#core.symbols.require('schedule') };
  }

  /** wq_worker_comm(): what /proc/PID/comm shows behind the name, `+events` of one that works, `-events` after it. */
  suffix(task: TaskStruct): string {
    const worker = this.#workers.find((w) => w.task === task);
    if (worker === undefined || worker.desc === '') return '';
    return `${worker.current === undefined ? '-' : '+'}${worker.desc}`;
  }

  /** print_worker_info(): undefined for a task that works on nothing. */
  info(task: TaskStruct): WorkerInfo | undefined {
    const worker = this.#workers.find((w) => w.task === task);
    if (worker?.current === undefined) return undefined;
    return { wq: worker.desc, func: worker.func };
  }
}
