// The class and priority that a task is said to have. Mirrors kernel/sched/syscalls.c: __sched_setscheduler().
//
// The machine's own scheduler has one class (docs/differences.md): what is set is what functions of a real kernel read.

import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';

const { EINVAL, ESRCH, SCHED_NORMAL, SCHED_FIFO } = UAPI;
/** include/uapi/linux/sched.h */
const [SCHED_RR, SCHED_BATCH, SCHED_IDLE] = [2, 3, 5];
const REAL_TIME: ReadonlySet<number> = new Set([SCHED_FIFO, SCHED_RR]);
const FAIR: ReadonlySet<number> = new Set([SCHED_NORMAL, SCHED_BATCH, SCHED_IDLE]);
/** include/linux/sched/prio.h */
const [MAX_RT_PRIO, DEFAULT_PRIO, MOST_NICE, LEAST_NICE] = [100, 120, -20, 19];
/** Members of struct sched_attr, of the system calls. */
const ATTR = { policy: 4n, nice: 16n, priority: 20n };

export function definePolicy(core: KernelCore): void {
  const { mem, tasks, kernel } = core;
  const { policy, prio, static_prio, normal_prio, rt_priority } = kernel.structs.task_struct.fields;
  const set = (addr: bigint, values: readonly (readonly [number | undefined, number])[]): void => {
    for (const [at, value] of values) if (at !== undefined) mem.writeU32(addr + BigInt(at), value);
  };
  core.host.offerAll({
    // (task, attr, user, pi)
    __sched_setscheduler: ({ args: [addr, attr] }) => {
      if (!tasks.byAddr(addr)) return -ESRCH;
      const asked = mem.readU32(attr + ATTR.policy);
      const priority = mem.readU32(attr + ATTR.priority);
      if (!REAL_TIME.has(asked) && !FAIR.has(asked)) return -EINVAL;
      if (priority >= MAX_RT_PRIO || REAL_TIME.has(asked) !== priority > 0) return -EINVAL;
      const nice = Math.min(Math.max(mem.readU32(attr + ATTR.nice) | 0, MOST_NICE), LEAST_NICE);
      const fair = DEFAULT_PRIO + nice;
      const normal = REAL_TIME.has(asked) ? MAX_RT_PRIO - 1 - priority : fair;
      if (FAIR.has(asked)) set(addr, [[static_prio, fair]]);
      set(addr, [
        [policy, asked],
        [rt_priority, priority],
        [normal_prio, normal],
        [prio, normal],
      ]);
      return 0;
    },
  });
}
