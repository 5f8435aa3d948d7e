// What /proc shows of parts that fs does not know.

import type { ProcTexts } from '../../fs/proc_files.ts';
import type { TaskTexts } from '../../fs/proc_pid.ts';
import type { Ftrace } from '../../ftrace/ftrace.ts';
import type { ModuleList } from '../../module/modules.ts';
import { procModules } from '../../module/procfs.ts';
import type { Workqueue } from '../../sched/workqueue.ts';
import type { Traces } from '../truth/traces.ts';

export function procTexts(
  modules: ModuleList,
  traces: Traces,
  workqueue: Workqueue,
  ftrace: Ftrace,
): ProcTexts & TaskTexts {
  return {
    modules: () => procModules(modules),
    stack: (task) =>
      traces
        .format(task)
        .map((line) => `${line}\n`)
        .join(''),
    wchan: (task) => traces.wchan(task),
    workerSuffix: (task) => workqueue.suffix(task),
    initFunctions: () => ftrace.initFunctions.list(),
    trampolines: () => ftrace.trampolines.list().map(({ start }) => start),
  };
}
