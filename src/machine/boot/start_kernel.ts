// The steps of boot, over parts that are whole: what start_kernel() and rest_init() of init/main.c do.

import type { Ftrace } from '../../ftrace/ftrace.ts';
import type { Engine } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Fork } from '../../sched/fork.ts';
import type { Workqueue } from '../../sched/workqueue.ts';
import type { Smp } from '../cpu/smp.ts';
import { isJoined, joinedSites, kernelSites, untracedSites } from '../native/join.ts';
import type { Traces } from '../truth/traces.ts';
import type { UserTasks } from '../user/user_tasks.ts';
import type { KernelImage } from './image.ts';
import { startCpu } from './start_cpu.ts';

interface Booting {
  readonly core: KernelCore;
  readonly smp: Smp;
  readonly sched: Sched;
  readonly fork: Fork;
  readonly ftrace: Ftrace;
  readonly traces: Traces;
  readonly users: UserTasks;
  readonly workqueue: Workqueue;
}

/** From a kernel in memory to one that runs: fentry sites, CPUs with their idle tasks, init, kthreadd, the workers. */
export function startKernel(parts: Booting, image: KernelImage, engine: Engine): void {
  const { core, smp, sched, fork, ftrace, traces, users, workqueue } = parts;
  if (isJoined(image)) {
    ftrace.init(joinedSites(image), untracedSites(image));
    ftrace.records.showAs(kernelSites(image, core.arch.fentry.maxOffset));
  } else ftrace.init(image.asm.fentrySites);
  for (let id = 0; id < core.cpus; id++)
    smp.add(startCpu(id, core, engine, fork, (regs) => traces.shadow?.interrupt(regs)));
  const wake = (task: TaskStruct): void => {
    traces.firstFrame(task);
    sched.wakeUpNewTask(task);
  };
  wake(users.create('pause', [], 'init'));
  wake(fork.createKernelThread(core.symbols.require('kthreadd'), 0n, 'kthreadd', undefined));
  workqueue.start();
  smp.current = smp.cpus[0];
}
