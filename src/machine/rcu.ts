// Grace periods. Mirrors kernel/rcu/tasks.h by behaviour: who must have passed through what before
// memory that code may still be executing in can go.

import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Sched } from '../sched/core.ts';

export class Rcu {
  readonly #core: KernelCore;
  readonly #sched: Sched;

  constructor(core: KernelCore, sched: Sched) {
    this.#core = core;
    this.#sched = sched;
  }

  /** One jiffy of sleep, in guest code. */
  *#sleep(): HostGenerator<void> {
    yield { call: this.#core.symbols.require('schedule_timeout_uninterruptible'), args: [1] };
  }

  /** synchronize_rcu_tasks(): every task that could run has since slept, or left the kernel, by its own will. */
  *synchronizeRcuTasks(): HostGenerator<void> {
    const runnable = [...this.#core.tasks.processes()].filter((t) => t.onRq && !t.isIdle);
    const waiting = new Map<TaskStruct, number>(runnable.map((t) => [t, this.#sched.voluntarySwitches(t)]));
    for (;;) {
      for (const [task, before] of waiting) {
        const passed = !task.onRq || this.#sched.voluntarySwitches(task) !== before;
        const gone = this.#core.tasks.byAddr(task.addr) !== task;
        if (passed || gone) waiting.delete(task);
        // rcu_request_urgent_qs_task(): one that has its CPU to itself may not schedule for long.
        else task.setTif('TIF_NEED_RESCHED');
      }
      yield* this.#sleep();
      if (waiting.size === 0) return;
    }
  }

  /** synchronize_rcu_tasks_rude(): every CPU has scheduled. */
  *synchronizeRcuTasksRude(): HostGenerator<void> {
    yield* this.#sleep();
  }
}
