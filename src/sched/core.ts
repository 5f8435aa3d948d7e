// Who runs next, and who wakes. Mirrors kernel/sched/core.c, with one queue a CPU and no priorities:
// the next task of a queue is a choice (src/kernel/choices.ts).
//
// Invariant: a task with on_rq set is current or in exactly one queue; a task that is on a CPU is
// queued nowhere else, so nobody runs on a stack that another CPU has not left.

import type { Addr } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants } from '../kernel/description.ts';
import { setNeedResched } from '../kernel/preempt_count.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';

/** What the scheduler needs of the emulated CPUs. */
interface SmpPort {
  /** smp_send_reschedule(): the CPU takes an interrupt as soon as it may. */
  sendReschedule(cpu: number): void;
  /** Executes nothing until an interrupt. */
  isHalted(cpu: number): boolean;
}

interface RunQueue {
  readonly queue: TaskStruct[];
  /** Ticks that the current task has had. */
  ticks: number;
}

/** By the addresses of tasks. */
interface KeptSched {
  readonly bound: readonly [Addr, number][];
  readonly voluntary: readonly [Addr, number][];
  readonly ticks: readonly number[];
}

/** Ticks a task may run while others wait. */
const TIMESLICE_TICKS = 1;

export class Sched {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  readonly #stateAt: bigint;
  readonly #smp: SmpPort;
  readonly #rqs: RunQueue[] = [];
  readonly #bound = new Map<TaskStruct, number>();
  /** Ready to run, and kept from it. */
  readonly #held = new Set<TaskStruct>();
  /** Times a task gave up the CPU by its own will: what RCU tasks counts. */
  readonly #voluntary = new Map<TaskStruct, number>();
  /** Called when a dead task's stack is left for good. */
  onTaskDead: (task: TaskStruct) => void = () => {};
  /** sched_submit_work(): called when a task is about to sleep. */
  onTaskSleeping: (task: TaskStruct) => void = () => {};
  /** fatal_signal_pending(): by whom signals are kept. */
  fatalSignalPending: (task: TaskStruct) => boolean = () => false;
  /** Called when a CPU has drawn its next task, with how many are runnable there: rq->nr_running. */
  onPicked: ((cpu: number, running: number) => void) | undefined;
  /** Called at each tick. */
  onTick: (() => void) | undefined;
  /** Called when a CPU goes through schedule(). */
  onSchedule: (cpu: number) => void = () => {};

  constructor(core: KernelCore, smp: SmpPort) {
    this.#core = core;
    this.#constants = core.kernel.constants;
    this.#stateAt = BigInt(core.kernel.structs.task_struct.fields.__state);
    this.#smp = smp;
    core.host.keeps('sched', this);
    core.host.defineAll({
      pick_next_task: (call) => this.#pickNextTask(call),
      put_task_stack: (call) => this.onTaskDead(this.taskAt(call.args[0])),
      wake_up_process: (call) => this.wakeUpProcess(this.taskAt(call.args[0])),
      wake_up_state: (call) => this.wakeUpState(this.taskAt(call.args[0]), Number(call.args[1])),
      yield_task: () => {},
      set_user_nice: () => {},
    });
  }

  /** The task that guest code points to. @throws GuestMemoryError: what the kernel would do there is beyond telling. */
  taskAt(addr: Addr): TaskStruct {
    const task = this.#core.tasks.byAddr(addr);
    if (!task) throw new GuestMemoryError('no task_struct', addr + this.#stateAt);
    return task;
  }

  /** Gives a CPU its idle task, which is running there from now on. */
  initIdle(cpu: number, idle: TaskStruct): void {
    this.#rqs[cpu] = { queue: [], ticks: 0 };
    this.#core.tasks.curr[cpu] = idle;
    idle.onCpu = 1;
    idle.onRq = 1;
    idle.cpu = cpu;
  }

  /**
   * set_cpus_allowed to one CPU; it takes effect at the next wakeup. To one that is not there: select_fallback_rq() finds
   * none of the task's then, and lets it run on any, in silence where it is a kernel thread.
   */
  bind(task: TaskStruct, cpu: number): void {
    if (cpu >= this.#rqs.length) {
      this.#bound.delete(task);
      return;
    }
    this.#bound.set(task, cpu);
    if (!task.onCpu) task.cpu = cpu;
  }

  /** cpu_rq(): of a task's CPU, which is a number in the guest's memory. @throws GuestMemoryError when there is none. */
  #rq(cpu: number): RunQueue {
    const rq = this.#rqs[cpu];
    if (!rq)
      throw new GuestMemoryError(
        `a task_struct says CPU ${cpu}, which is not there: its offset`,
        this.#core.symbols.require('__per_cpu_offset') + BigInt(8 * cpu),
      );
    return rq;
  }

  /** cpu_curr() @throws GuestMemoryError when there is no such CPU. */
  curr(cpu: number): TaskStruct {
    this.#rq(cpu);
    return this.#core.tasks.curr[cpu];
  }

  /** task_curr(), and also true while its CPU is on the way from or to it. */
  taskCurr(task: TaskStruct): boolean {
    return task.onCpu !== 0;
  }

  /** Times the task has given up a CPU by its own will. */
  /** Between two tasks, where no other one waits. */
  keep(): KeptSched | undefined {
    if (this.#held.size > 0 || this.#rqs.some(({ queue }) => queue.length > 0)) return undefined;
    const byTask = (counts: ReadonlyMap<TaskStruct, number>): [Addr, number][] =>
      [...counts].map(([{ addr }, count]) => [addr, count]);
    return {
      bound: byTask(this.#bound),
      voluntary: byTask(this.#voluntary),
      ticks: this.#rqs.map(({ ticks }) => ticks),
    };
  }

  restore({ bound, voluntary, ticks }: KeptSched): void {
    const put = (counts: Map<TaskStruct, number>, kept: readonly [Addr, number][]): void => {
      counts.clear();
      for (const [addr, count] of kept) counts.set(this.#core.tasks.byAddr(addr) as TaskStruct, count);
    };
    put(this.#bound, bound);
    put(this.#voluntary, voluntary);
    this.#rqs.forEach((rq, cpu) => {
      rq.queue.length = 0;
      rq.ticks = ticks[cpu];
    });
  }

  voluntarySwitches(task: TaskStruct): number {
    return this.#voluntary.get(task) ?? 0;
  }

  wakeUpProcess(task: TaskStruct): boolean {
    return this.wakeUpState(task, this.#constants.TASK_NORMAL);
  }

  /** try_to_wake_up(): true when the task was in one of the states. */
  wakeUpState(task: TaskStruct, states: number): boolean {
    if ((task.state & states) === 0) return false;
    task.state = this.#constants.TASK_RUNNING;
    if (task.onRq) return true;
    this.#enqueue(task, this.#selectCpu(task));
    return true;
  }

  /** wake_up_new_task() */
  wakeUpNewTask(task: TaskStruct): void {
    task.state = this.#constants.TASK_RUNNING;
    this.#enqueue(task, this.#selectCpu(task));
  }

  #enqueue(task: TaskStruct, cpu: number): void {
    task.onRq = 1;
    task.cpu = cpu;
    const rq = this.#rq(cpu);
    rq.queue.push(task);
    const { events } = this.#core;
    if (events.listens('wakeup')) events.emit({ type: 'wakeup', pid: task.pid, comm: task.comm, cpu });
    if (this.curr(cpu).isIdle) this.reschedCurr(cpu);
  }

  /** select_task_rq(): where it was if that CPU idles, else any that idles, else where it was, unless fewer wait elsewhere. */
  #selectCpu(task: TaskStruct): number {
    const bound = this.#bound.get(task);
    if (bound !== undefined) return bound;
    if (task.onCpu) return task.cpu;
    const idle = (cpu: number) => this.curr(cpu).isIdle && this.#rq(cpu).queue.length === 0;
    if (idle(task.cpu)) return task.cpu;
    for (let cpu = 0; cpu < this.#rqs.length; cpu++) if (idle(cpu)) return cpu;
    let best = task.cpu;
    for (let cpu = 0; cpu < this.#rqs.length; cpu++) {
      if (this.#rq(cpu).queue.length + 1 < this.#rq(best).queue.length) best = cpu;
    }
    return best;
  }

  /** resched_curr(): the CPU's task goes through schedule() soon. */
  reschedCurr(cpu: number): void {
    this.curr(cpu).setTif('TIF_NEED_RESCHED');
    setNeedResched(this.#core, cpu, true);
    this.#smp.sendReschedule(cpu);
  }

  /** wake_up_if_idle(): an idle CPU goes through its loop once. */
  wakeUpIfIdle(cpu: number): void {
    if (this.curr(cpu).isIdle) this.reschedCurr(cpu);
  }

  /** kick_process(): a task in user mode comes into the kernel. */
  kickProcess(task: TaskStruct): void {
    if (task.onCpu) this.#smp.sendReschedule(task.cpu);
  }

  /** set_notify_signal(): the task looks at its work at once. */
  setNotifySignal(task: TaskStruct): void {
    if (task.testTif('TIF_NOTIFY_SIGNAL')) return;
    task.setTif('TIF_NOTIFY_SIGNAL');
    if (!this.wakeUpState(task, this.#constants.TASK_INTERRUPTIBLE)) this.kickProcess(task);
  }

  /** scheduler_tick() on a CPU. */
  tick(cpu: number): void {
    const rq = this.#rq(cpu);
    rq.ticks++;
    this.onTick?.();
    if (this.#ready(rq).length > 0 && (this.curr(cpu).isIdle || rq.ticks >= TIMESLICE_TICKS))
      this.reschedCurr(cpu);
  }

  /** What __schedule() decides: puts the current task away as its state says, and draws the next. */
  #pickNextTask(call: HostCall): bigint {
    const preempted = call.args[1] === 1n;
    const rq = this.#rq(call.cpu);
    const { tasks } = this.#core;
    const prev = tasks.curr[call.cpu];
    this.onSchedule(call.cpu);
    prev.clearTif('TIF_NEED_RESCHED');
    setNeedResched(this.#core, call.cpu, false);
    if (!preempted) this.#voluntary.set(prev, this.voluntarySwitches(prev) + 1);
    if (!preempted && prev.state !== this.#constants.TASK_RUNNING) {
      if (this.#signalPendingState(prev)) prev.state = this.#constants.TASK_RUNNING;
      else {
        prev.onRq = 0;
        this.onTaskSleeping(prev);
      }
    }
    if (prev.onRq && !prev.isIdle && rq.queue.indexOf(prev) < 0) rq.queue.push(prev);
    const next = this.#draw(rq) ?? tasks.idle[call.cpu];
    tasks.curr[call.cpu] = next;
    rq.ticks = 0;
    const { events } = this.#core;
    if (next !== prev && events.listens('sched')) {
      events.emit({ type: 'sched', prev: `${prev}`, next: `${next}`, preempted });
    }
    if (prev.state === this.#constants.TASK_DEAD) this.#forget(prev);
    this.onPicked?.(call.cpu, rq.queue.length + (next.isIdle ? 0 : 1));
    return next.addr;
  }

  /** Those of a queue that may run now. */
  #ready(rq: RunQueue): TaskStruct[] {
    return this.#held.size === 0 ? rq.queue : rq.queue.filter((task) => !this.#held.has(task));
  }

  /** A task is not given a CPU until it is let go, as one that has used up the quota of its group. */
  hold(task: TaskStruct): void {
    this.#held.add(task);
  }

  /** Whether one is not given a CPU. */
  get holds(): boolean {
    return this.#held.size > 0;
  }

  letGo(task: TaskStruct): void {
    if (this.#held.delete(task) && task.onRq && !task.onCpu) this.reschedCurr(task.cpu);
  }

  #draw(rq: RunQueue): TaskStruct | undefined {
    const ready = this.#ready(rq);
    if (ready.length === 0) return undefined;
    const next = ready[this.#core.choices.choose('task', ready.length)];
    rq.queue.splice(rq.queue.indexOf(next), 1);
    return next;
  }

  /** signal_pending_state(): a signal keeps the task from sleeping in this state. */
  #signalPendingState(task: TaskStruct): boolean {
    const { TASK_INTERRUPTIBLE, TASK_WAKEKILL } = this.#constants;
    if ((task.state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL)) === 0) return false;
    if (!task.testTif('TIF_SIGPENDING') && !task.testTif('TIF_NOTIFY_SIGNAL')) return false;
    return (task.state & TASK_INTERRUPTIBLE) !== 0 || this.fatalSignalPending(task);
  }

  #forget(task: TaskStruct): void {
    this.#bound.delete(task);
    this.#voluntary.delete(task);
    this.#held.delete(task);
  }
}
