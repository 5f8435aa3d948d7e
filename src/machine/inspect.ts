// The parts of a machine, for whoever looks into one: tests, the shell, benchmarks. The public face of a machine is
// Machine itself; what is here follows the kernel's own structure and changes with it.

import type { Bundles } from '../bundle/core.ts';
import type { FileSystem } from '../fs/filesystem.ts';
import type { Ftrace } from '../ftrace/ftrace.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Sysfs } from '../kernel/sysfs.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { Kmalloc } from '../mm/kmalloc.ts';
import type { ModuleArena } from '../module/module_alloc.ts';
import type { ReservedChunk } from '../module/percpu.ts';
import type { Sched } from '../sched/core.ts';
import type { Exit } from '../sched/exit.ts';
import type { Fork } from '../sched/fork.ts';
import type { Kthreads } from '../sched/kthread.ts';
import type { Timers } from '../sched/timer.ts';
import type { Workqueue } from '../sched/workqueue.ts';
import type { Executor } from './cpu/executor.ts';
import type { HostCallDispatch } from './cpu/hostcall_dispatch.ts';
import type { RunLoop } from './cpu/run_loop.ts';
import type { Smp } from './cpu/smp.ts';
import type { Steering } from './cpu/steering.ts';
import type { BlockSink } from './cpu/watching.ts';
import type { ModuleCalls } from './modules/module_calls.ts';
import type { Oops } from './traps/oops.ts';
import type { Traps } from './traps/traps.ts';
import type { Watchdog } from './traps/watchdog.ts';
import type { Traces } from './truth/traces.ts';
import type { TransitionTruth } from './truth/transition_truth.ts';
import type { VersionTruth } from './truth/version_truth.ts';
import type { UserTasks } from './user/user_tasks.ts';

export interface Inspect {
  /** What all subsystems stand on: memory, clock, symbols, tasks, slab, per-CPU data, faults. */
  readonly core: KernelCore;
  readonly sched: Sched;
  readonly fork: Fork;
  readonly exit: Exit;
  readonly timers: Timers;
  /** The heap as modules see it. */
  readonly mm: Kmalloc;
  readonly workqueue: Workqueue;
  readonly kthreads: Kthreads;
  readonly ftrace: Ftrace;
  /** The loader, and the system calls over it. */
  readonly modules: ModuleCalls;
  /** Where modules' per-CPU variables are. */
  readonly modulePercpu: ReservedChunk;
  /** Where modules and trampolines lie. */
  readonly moduleArena: ModuleArena;
  readonly livepatch: Livepatch;
  /** In the bundle model. */
  readonly bundles: Bundles | undefined;
  readonly fs: FileSystem;
  readonly sysfs: Sysfs;
  /** Reliable stack traces, and the shadow stack that they are held against. */
  readonly traces: Traces;
  readonly oops: Oops;
  readonly traps: Traps;
  readonly watchdog: Watchdog;
  /** The CPUs, and whose turn it is. */
  readonly smp: Smp;
  /** Serves what guest code asks of TypeScript. */
  readonly host: HostCallDispatch;
  /** Runs the engine; counts instructions. */
  readonly executor: Executor;
  readonly loop: RunLoop;
  /** Does what a schedule says. */
  readonly steering: Steering;
  /** The user tasks that were started here. */
  readonly users: UserTasks;
  /** The ground truth of transitions. */
  readonly truth: TransitionTruth;
  /** The ground truth of calls. */
  readonly versions: VersionTruth;
  /** Who is told of kernel code as it is executed; needs the shadow stack. */
  readonly onBlocks: (sink: BlockSink) => void;
}
