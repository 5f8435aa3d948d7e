// Frames that gdb's own unwinder finds, held against the reliable trace of each task at the same instruction.

import { expect } from 'vitest';
import { allTasks, cpuOf, threadOf } from '../../src/gdb/threads.ts';
import { DrivenRun, scenarioProgram } from '../../src/history/driven_run.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { loadScenario } from '../../src/scenario/parse.ts';
import { gdb } from './gdb.ts';

const KERNEL_HALF = 1n << 63n;

/** What stack_trace_save_tsk_reliable() would give, or of a task that executes the same from its registers on. */
function reliable(machine: Machine, task: TaskStruct) {
  const { inspect } = machine;
  const { stackTrace } = inspect.traces;
  const cpu = cpuOf(machine, task);
  return cpu
    ? stackTrace.explainRegsReliable(task, inspect.traces.cpuRegs(cpu))
    : stackTrace.explainTskReliable(task);
}

/** At moments of a scenario, in ascending order. @returns how many traces were compared, and frames in them */
export async function compareFrames(scenario: string, moments: readonly number[]) {
  const commands = moments.flatMap((at) => [
    `monitor goto instruction ${at}`,
    // It hears of modules that have come with the next stop.
    'stepi',
    'monitor schedule',
    'klpemu-frames',
  ]);
  const printed = gdb(scenario, '', commands, ['source test/gdb/frames.py']);
  const boot = () => DrivenRun.boot(scenarioProgram(loadScenario(`fixtures/scenarios/${scenario}.yaml`)));
  let run = await boot();
  const counts = { traces: 0, frames: 0, unreliable: 0 };
  try {
    for (let i = 0; i < moments.length; i++) {
      const [, , schedule, frames] = printed.slice(4 * i);
      const position = Number(/instruction (\d+)/.exec(schedule)?.[1]);
      // A step takes until the task's turn comes, which may be behind the next moment.
      if (position < run.machine.inspect.executor.instructions) {
        run.close();
        run = await boot();
      }
      await run.go(position);
      expect(run.machine.inspect.executor.instructions).toBe(position);
      const byThread = new Map(
        frames
          .trim()
          .split('\n')
          .map((line) => line.trim().split(' '))
          .map(([id, ...pcs]) => [Number(id), pcs.map((pc) => BigInt(`0x${pc}`))]),
      );
      for (const task of allTasks(run.machine)) {
        const found = byThread.get(threadOf(run.machine, task));
        const where = `${task} at instruction ${position}`;
        expect(found, where).toBeDefined();
        const kernel = (found ?? []).filter((pc) => pc >= KERNEL_HALF);
        const trace = reliable(run.machine, task);
        const names = (pcs: readonly bigint[]) => pcs.map((pc) => run.machine.inspect.core.sym(pc));
        if (!trace.ok) {
          counts.unreliable++;
          expect(names(kernel).slice(0, trace.entries.length), where).toEqual(names(trace.entries));
          continue;
        }
        expect(names(kernel), where).toEqual(names(trace.entries));
        counts.traces++;
        counts.frames += kernel.length;
      }
    }
  } finally {
    run.close();
  }
  return counts;
}
