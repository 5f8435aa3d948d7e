// The class and priority that a task is said to have. Mirrors kernel/sched/syscalls.c: __sched_setscheduler().
//
// The machine's own scheduler has one class (docs/differences.md): what is set is what functions of a real kernel read.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';

const { EINVAL, SCHED_NORMAL, SCHED_FIFO } = UAPI;
/** include/uapi/linux/sched.h */
const [SCHED_RR, SCHED_BATCH, SCHED_IDLE] = [2, 3, 5];
const REAL_TIME: ReadonlySet<number> = new Set([SCHED_FIFO, SCHED_RR]);
/** fair_policy(): those to which a nice value is given. */
const FAIR: ReadonlySet<number> = new Set([SCHED_NORMAL, SCHED_BATCH]);
/** include/linux/sched/prio.h */
const [MAX_RT_PRIO, DEFAULT_PRIO] = [100, 120];
/** Members of struct sched_attr, of the system calls. */
const ATTR = { policy: 4n, nice: 16n, priority: 20n };

type Member = 'policy' | 'prio' | 'static_prio' | 'normal_prio' | 'rt_priority';

/** Every real kernel has these, and nobody else asks. */
const memberAt = ({ kernel }: KernelCore, task: Addr, name: Member): Addr =>
  task + BigInt(kernel.structs.task_struct.fields[name] as number);

/** What init_task has, and all that come of it: nice 0. */
export function ordinaryPriority(core: KernelCore, task: Addr): void {
  for (const name of ['prio', 'static_prio', 'normal_prio'] as const)
    core.mem.writeU32(memberAt(core, task, name), DEFAULT_PRIO);
}

export function definePolicy(core: KernelCore): void {
  const { mem } = core;
  core.host.offerAll({
    // (task, attr, user, pi)
    __sched_setscheduler: ({ args: [task, attr] }) => {
      const policy = mem.readU32(attr + ATTR.policy);
      const priority = mem.readU32(attr + ATTR.priority);
      const isRealTime = REAL_TIME.has(policy);
      if (!isRealTime && !FAIR.has(policy) && policy !== SCHED_IDLE) return -EINVAL;
      if (priority >= MAX_RT_PRIO || isRealTime !== priority > 0) return -EINVAL;
      const set = (name: Member, value: number): void => mem.writeU32(memberAt(core, task, name), value);
      const fair = DEFAULT_PRIO + (mem.readU32(attr + ATTR.nice) | 0);
      if (FAIR.has(policy)) set('static_prio', fair);
      const realTime = MAX_RT_PRIO - 1 - priority;
      set('policy', policy);
      set('rt_priority', priority);
      set('normal_prio', isRealTime ? realTime : mem.readU32(memberAt(core, task, 'static_prio')));
      set('prio', isRealTime ? realTime : fair);
      return 0;
    },
  });
}
