// What the guest's own wait queues (asm/x86_64/wait.s) need of the scheduler. Mirrors try_to_wake_up() of
// kernel/sched/core.c.

import type { KernelCore } from '../kernel/core.ts';
import type { Sched } from './core.ts';

export function defineWait(core: KernelCore, sched: Sched): void {
  core.host.define('try_to_wake_up', ({ args }) => {
    const task = core.tasks.byAddr(args[0]);
    return task ? sched.wakeUpState(task, Number(args[1] & 0xffffffffn)) : false;
  });
}
