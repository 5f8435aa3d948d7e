// klpemu stack: what tasks stand in at a moment of a scenario, as /proc/PID/stack prints it.

import type { KnownTask, World } from '../../scenario/world.ts';
import { EXIT, UsageError } from '../exit.ts';
import { atMoment, type MomentOptions } from '../scenario.ts';
import { colorsFor, print, printError } from '../terminal.ts';

interface StackOptions extends MomentOptions {
  readonly task?: string;
}

interface StackReport {
  readonly pid: number;
  readonly comm: string;
  readonly state: string;
  readonly patchState: number;
  readonly pending: boolean;
  readonly stack: readonly string[];
}

export async function stack(file: string, options: StackOptions): Promise<void> {
  await atMoment(file, options, async ({ world }, report) => {
    const tasks = report.failure ? [] : wanted(world, options.task);
    const stacks = tasks.map(stackReport);
    if (options.json) {
      const failure = report.failure ? { failure: report.failure } : {};
      print(`${JSON.stringify({ file, t: report.endedAt, tasks: stacks, ...failure })}\n`);
    } else print(stacks.map(stackText).join('\n'));
    if (!report.failure) return;
    if (!options.json) printError(`klpemu: ${report.failure.message}\n`);
    process.exitCode = EXIT.machine;
  });
}

function wanted(world: World, name: string | undefined): KnownTask[] {
  if (name === undefined) return world.all();
  const tasks = world.tasks(name).filter((task) => task.alive);
  if (tasks.length > 0) return tasks;
  throw new UsageError(`no task ${name} at this moment; there are ${world.taskList()}`);
}

function stackReport(known: KnownTask): StackReport {
  const { task } = known;
  return {
    pid: known.pid,
    comm: known.comm,
    state: task.onCpu ? 'on CPU' : task.state === 0 ? 'runnable' : 'sleeping',
    patchState: task.patchState,
    pending: known.pending,
    stack: known.stack(),
  };
}

function stackText({ pid, comm, state, patchState, pending, stack }: StackReport): string {
  const { bold, yellow } = colorsFor(process.stdout);
  const flag = pending ? `, ${yellow('TIF_PATCH_PENDING')}` : '';
  return `${bold(`${comm}:${pid}`)} ${state}, patch_state ${patchState}${flag}\n${stack.map((line) => `${line}\n`).join('')}`;
}
