// Whose instruction was executed last.

import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';

/** The task of the CPU that was executed last. */
export function lastTask({ inspect: { core, smp } }: Machine): TaskStruct {
  return core.current((smp.current ?? smp.cpus[0]).id);
}
