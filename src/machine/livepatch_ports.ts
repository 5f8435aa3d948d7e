// What livepatch needs of its siblings, plugged in: the scheduler, modules, reliable stack traces, and the model.

import type { Ftrace } from '../ftrace/ftrace.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Kobjects } from '../kernel/kobject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { Livepatch } from '../livepatch/core.ts';
import type { LivepatchModel } from '../livepatch/model.ts';
import type { Sched } from '../sched/core.ts';
import type { Workqueue } from '../sched/workqueue.ts';
import type { Modules } from './modules.ts';
import type { Traces } from './truth/traces.ts';

interface LivepatchParts {
  readonly core: KernelCore;
  readonly ftrace: Ftrace;
  readonly sched: Sched;
  readonly workqueue: Workqueue;
  readonly modules: Modules;
  readonly model: LivepatchModel;
  readonly traces: Traces;
  /** Lines of a task's stack. */
  readonly stack: (task: TaskStruct) => string[];
  /** pr_debug() of livepatch is on from the start. */
  readonly debug: boolean;
}

export function makeLivepatch(kobjects: Kobjects, parts: LivepatchParts): Livepatch {
  const { core, ftrace, sched, workqueue, modules, model, traces, debug } = parts;
  return new Livepatch(
    core,
    ftrace,
    kobjects,
    {
      sched,
      workqueue,
      model,
      modules: modules.forLivepatch,
      stack: {
        saveReliable: (task, entries, call) => traces.saveReliable(task, entries, call),
        format: parts.stack,
      },
    },
    { reliableStacktrace: traces.stackTrace.haveReliableStack, debug },
  );
}
