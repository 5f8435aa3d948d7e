// Grace periods. Mirrors kernel/rcu/tasks.h and tree.c by behaviour: who must have passed through what before
// memory that code may still be executing in, or reading, can go.

import type { Addr } from '../../guest/addr.ts';
import type { HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { preemptCount } from '../../kernel/preempt_count.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Timers } from '../../sched/timer.ts';
import type { Cpu } from './cpu.ts';

/** Preemption as init_idle() leaves it. */
const IDLE_COUNT = 1;

export class Rcu {
  readonly #core: KernelCore;
  readonly #nestingAt: bigint;
  readonly #sched: Sched;
  readonly #timers: Timers;
  readonly #cpus: readonly Cpu[];
  /** What call_rcu() was asked for, by the timer that will call it. */
  readonly #callbacks = new Map<Addr, { readonly head: Addr; readonly func: Addr }>();

  constructor(core: KernelCore, sched: Sched, timers: Timers, cpus: readonly Cpu[]) {
    this.#core = core;
    this.#nestingAt = BigInt(core.kernel.structs.task_struct.fields.rcu_read_lock_nesting);
    this.#sched = sched;
    this.#timers = timers;
    this.#cpus = cpus;
    core.host.define('synchronize_rcu', () => this.#synchronizeRcu());
    core.host.offerAll({
      call_rcu: ({ args: [head, func] }) => this.#callRcu(head, func),
      rcu_core: ({ args: [timer] }) => this.#rcuCore(timer),
      rcu_barrier: () => this.#barrier(),
      synchronize_rcu_expedited: () => this.#synchronizeRcu(),
    });
  }

  /** call_rcu(): the function is called by a timer, for those are called in softirq, too. */
  #callRcu(head: Addr, func: Addr): void {
    const { mem, slab, kernel, symbols, clock } = this.#core;
    const { size, fields } = kernel.structs.timer_list;
    const timer = slab.alloc(size, 'call_rcu');
    mem.writeU64(timer + BigInt(fields.function), symbols.require('rcu_core'));
    this.#callbacks.set(timer, { head, func });
    this.afterGracePeriod(() => this.#timers.add(timer, clock.now(), { timer }));
  }

  *#rcuCore(timer: Addr): HostGenerator<void> {
    const callback = this.#callbacks.get(timer);
    if (!callback) return;
    yield { call: callback.func, args: [callback.head] };
    this.#callbacks.delete(timer);
    this.#core.slab.free(timer);
  }

  /** rcu_barrier(): what was asked for until now was called. */
  *#barrier(): HostGenerator<void> {
    const before = [...this.#callbacks.keys()];
    while (before.some((timer) => this.#callbacks.has(timer))) yield* this.#sleep();
  }

  /**
   * call_rcu(), for the host: calls when every task that is in a read-side section now has left it, and every CPU
   * was seen with preemption and interrupts on. Looks once a tick.
   */
  afterGracePeriod(done: () => void): void {
    const { tasks, cpus } = this.#core;
    const readers = new Set([...tasks.processes()].filter((task) => this.#reads(task)));
    const waiting = new Set(Array.from({ length: cpus }, (_, cpu) => cpu));
    const look = (): void => {
      for (const task of readers) if (!this.#reads(task)) readers.delete(task);
      for (const cpu of waiting) if (this.#quiescent(cpu)) waiting.delete(cpu);
      if (readers.size === 0 && waiting.size === 0) done();
      else this.#timers.add({}, this.#core.clock.now() + this.#timers.tickNs, { run: look });
    };
    this.#timers.add({}, this.#core.clock.now() + this.#timers.tickNs, { run: look });
  }

  #reads(task: TaskStruct): boolean {
    const { mem, tasks } = this.#core;
    return tasks.byAddr(task.addr) === task && (mem.readU32(task.addr + this.#nestingAt) | 0) > 0;
  }

  #quiescent(id: number): boolean {
    const cpu = this.#cpus[id];
    const { HARDIRQ_OFFSET } = this.#core.kernel.constants;
    const count = preemptCount(this.#core, id);
    // The CPU that looks does so in the tick: what it interrupted had interrupts on.
    // The idle task has preemption off all the time (rcu_is_cpu_rrupt_from_idle()).
    if (id === this.#core.here())
      return count === HARDIRQ_OFFSET + (this.#core.current(id).isIdle ? IDLE_COUNT : 0);
    const idle = cpu.halted && cpu.wakesAt === undefined && !cpu.stopped;
    return idle || cpu.context.userMode || (count === 0 && cpu.processor.interruptsOn);
  }

  *#synchronizeRcu(): HostGenerator<void> {
    let over = false;
    this.afterGracePeriod(() => {
      over = true;
    });
    while (!over) yield* this.#sleep();
  }

  /** Sleep in guest code, of so many jiffies. */
  *#sleep(jiffies = 1): HostGenerator<void> {
    const call = this.#core.symbols.require('schedule_timeout_uninterruptible');
    yield { call, args: [jiffies], polls: true };
  }

  /**
   * synchronize_rcu_tasks(): every task that could run has since slept, or left the kernel, by its own will. Looks as
   * rcu_tasks_wait_gp() does: the first time after HZ / 10, then each time a jiffy later, up to a second.
   */
  *synchronizeRcuTasks(): HostGenerator<void> {
    // Of the grace periods before and behind that (rcu_tasks_pregp_step(), rcu_tasks_postgp()).
    yield* this.#sleep();
    // Who asks sleeps, there in wait_for_completion().
    const asks = this.#core.current(this.#core.here());
    const runnable = [...this.#core.tasks.processes()].filter((t) => t.onRq && !t.isIdle && t !== asks);
    const holdouts = new Map<TaskStruct, number>(runnable.map((t) => [t, this.#sched.voluntarySwitches(t)]));
    const { HZ } = this.#core.kernel.constants;
    for (let fract = Math.floor(HZ / 10); holdouts.size > 0; fract = Math.min(fract + 1, HZ)) {
      yield* this.#sleep(fract);
      for (const [task, before] of holdouts) {
        const passed = !task.onRq || this.#sched.voluntarySwitches(task) !== before;
        const gone = this.#core.tasks.byAddr(task.addr) !== task;
        if (passed || gone) holdouts.delete(task);
        // rcu_request_urgent_qs_task(): one that has its CPU to itself may not schedule for long.
        else task.setTif('TIF_NEED_RESCHED');
      }
    }
  }

  /** synchronize_rcu_tasks_rude(): every CPU has scheduled. */
  *synchronizeRcuTasksRude(): HostGenerator<void> {
    yield* this.#sleep();
  }
}
