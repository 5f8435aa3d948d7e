// The steps of boot, over parts that are whole: what start_kernel() and rest_init() of init/main.c do.

import type { Ftrace } from '../../ftrace/ftrace.ts';
import type { Engine } from '../../guest/engine.ts';
import { PROT_WRITE } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Kobjects } from '../../kernel/kobject.ts';
import { RealSysfs } from '../../kernel/real_sysfs.ts';
import type { Sysfs } from '../../kernel/sysfs.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Fork } from '../../sched/fork.ts';
import type { Timers } from '../../sched/timer.ts';
import type { Workqueue } from '../../sched/workqueue.ts';
import type { Executor } from '../cpu/executor.ts';
import type { RunLoop } from '../cpu/run_loop.ts';
import type { Smp } from '../cpu/smp.ts';
import { MachineError } from '../machine_error.ts';
import type { Initcalls } from '../native/initcalls.ts';
import { isJoined, joinedSites, kernelSites, untracedSites } from '../native/join.ts';
import type { Traces } from '../truth/traces.ts';
import type { UserTasks } from '../user/user_tasks.ts';
import type { KernelImage, RealKernel } from './image.ts';
import { firstTick, startCpu } from './start_cpu.ts';

interface Booting {
  readonly core: KernelCore;
  readonly smp: Smp;
  readonly sched: Sched;
  readonly fork: Fork;
  readonly ftrace: Ftrace;
  readonly traces: Traces;
  readonly users: UserTasks;
  readonly workqueue: Workqueue;
  readonly loop: RunLoop;
  readonly timers: Timers;
  readonly executor: Executor;
  readonly initcalls: Initcalls;
  readonly kobjects: Kobjects;
  readonly sysfs: Sysfs;
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
  if (isJoined(image)) startReal(parts, image, wake);
}

/** Instructions that they may take: they take four million. */
const MOST_INSTRUCTIONS = 50e6;

/** Pointers to kobjects that boot has made, and their directories. */
const KOBJECTS = [
  ['kernel_kobj', '/kernel'],
  ['klp_root_kobj', '/kernel/livepatch'],
] as const;

/** The real kernel's own init functions, and then its init memory is gone (free_initmem()). */
function startReal(
  { core, fork, loop, initcalls, kobjects, sysfs, workqueue, executor, smp, timers }: Booting,
  { real }: KernelImage & { readonly real: RealKernel },
  wake: (task: TaskStruct) => void,
): void {
  const { init } = real.native;
  workqueue.startReal();
  // Constants that are known as it boots are written into its text and its read-only data, until mark_rodata_ro().
  const readOnly = real.native.segments.filter(({ protection }) => (protection & PROT_WRITE) === 0);
  for (const { start, size, protection } of readOnly) core.mem.protect(start, size, protection | PROT_WRITE);
  const task = fork.createKernelThread(core.symbols.require('kernel_init'), 0n, 'kernel_init', undefined);
  wake(task);
  core.printk.booting = true;
  const isOver = (): boolean =>
    initcalls.done || core.tasks.byPid(task.pid) === undefined || executor.instructions > MOST_INSTRUCTIONS;
  if (!loop.runUntil(isOver, Number.MAX_SAFE_INTEGER) || !initcalls.done)
    throw new MachineError(
      `kernel ${core.kernel.release} cannot be booted here: ${initcalls.current}() did not come back`,
    );
  core.printk.booting = false;
  // What it took is no time of the machine's: that begins with a kernel that has booted.
  const took = smp.now();
  smp.beginAgain(took, (cpu) => firstTick(core, cpu.id));
  timers.beginAgain(took);
  for (const { start, size, protection } of readOnly) core.mem.protect(start, size, protection);
  for (const [symbol, path] of KOBJECTS)
    kobjects.register(core.mem.readU64(core.symbols.require(symbol)), path);
  const { kset } = core.kernel.structs;
  const modules = core.mem.readU64(core.symbols.require('module_kset'));
  kobjects.register(modules + BigInt(kset.fields.kobj), '/module');
  sysfs.root.guest = new RealSysfs(core);
  for (const { start, size } of real.native.segments)
    if (start >= init.addr && start < init.addr + BigInt(init.size)) core.mem.unmap(start, size);
}
