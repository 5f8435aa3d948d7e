// Who is told of what another part does: tasks that come and go, the tick.

import type { FileSystem } from '../../fs/filesystem.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { Sched } from '../../sched/core.ts';
import type { Exit } from '../../sched/exit.ts';
import type { Fork } from '../../sched/fork.ts';
import type { Timers } from '../../sched/timer.ts';
import type { Smp } from '../cpu/smp.ts';
import type { Oops } from '../traps/oops.ts';
import type { Traps } from '../traps/traps.ts';
import type { Watchdog } from '../traps/watchdog.ts';
import type { Traces } from '../truth/traces.ts';
import type { UserTasks } from '../user/user_tasks.ts';

/** Keeps what is going on on kernel stacks, by their slots. */
interface StackKeeper {
  /** Nothing of that goes on. */
  forget(slot: number): void;
}

/** A task that died of an oops gives up what is on its stack. */
export function onStackGone(traps: Traps, keepers: readonly StackKeeper[]): void {
  traps.onAbandonStack.push((slot) => {
    for (const keeper of keepers) keeper.forget(slot);
  });
}

/** What copy_process() does of others' work, in its order. */
export function onFork(
  fork: Fork,
  fs: FileSystem,
  keepers: readonly StackKeeper[],
  livepatch: Livepatch,
  traces: Traces,
): void {
  fork.onFork.push((parent, child, copied) => {
    // The one step that can fail, before any that would have to be undone.
    if (copied) fs.copyFiles(parent, child);
    for (const keeper of keepers) keeper.forget(child.stackSlot);
    livepatch.copyProcess(parent, child);
    traces.firstFrame(child);
  });
}

/** A task has ended; it must not have been init. */
export function onExit(
  core: KernelCore,
  exit: Exit,
  livepatch: Livepatch,
  users: UserTasks,
  oops: Oops,
): void {
  exit.onExit.push((task) => livepatch.model.forget(task));
  exit.onExit.push((task, code) => {
    users.exited(task, code);
    const exitcode = `0x${code.toString(16).padStart(8, '0')}`;
    if (task.pid === 1) oops.panic(core.here(), `Attempted to kill init! exitcode=${exitcode}`);
  });
}

/** The timer interrupt. */
export function onTick(core: KernelCore, smp: Smp, timers: Timers, sched: Sched, watchdog: Watchdog): void {
  core.host.define('hrtimer_interrupt', ({ cpu, args }) => {
    timers.run(smp.now());
    sched.tick(cpu);
    watchdog.tick(cpu, args[0]);
  });
}
