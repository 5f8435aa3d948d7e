// Tasks as a debugger's threads: all of them, by their pid; the idle tasks of the CPUs, which have none, behind the highest.

import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Cpu } from '../machine/cpu/cpu.ts';
import type { Machine } from '../machine/machine.ts';

/** PID_MAX_LIMIT: no task has a higher one. */
const MOST_PIDS = 4194304;

/** Of the idle task of a CPU. */
export const idleThread = (cpu: number): number => MOST_PIDS + 1 + cpu;

export function threadOf(machine: Machine, task: TaskStruct): number {
  const idle = machine.inspect.core.tasks.idle.indexOf(task);
  return idle < 0 ? task.pid : idleThread(idle);
}

/** Those that are on a CPU are there, too, when they are in no list any more. */
export function allTasks(machine: Machine): TaskStruct[] {
  const { core, smp } = machine.inspect;
  const { tasks } = core;
  const found = new Set([...tasks.processes(), ...tasks.idle]);
  for (const { id } of smp.cpus) found.add(core.current(id));
  return [...found];
}

export function taskOf(machine: Machine, thread: number): TaskStruct | undefined {
  const { tasks } = machine.inspect.core;
  return (
    tasks.byPid(thread) ??
    tasks.idle[thread - MOST_PIDS - 1] ??
    allTasks(machine).find((task) => threadOf(machine, task) === thread)
  );
}

/** The CPU that a task is executed by. */
export function cpuOf(machine: Machine, task: TaskStruct): Cpu | undefined {
  const { core, smp } = machine.inspect;
  return smp.cpus.find(({ id }) => core.current(id) === task);
}

/** The task of the CPU that was executed last. */
export function lastTask({ inspect: { core, smp } }: Machine): TaskStruct {
  return core.current((smp.current ?? smp.cpus[0]).id);
}

const TRANSITION = { '-1': 'undefined', '0': 'unpatched', '1': 'patched' } as const;

/** What `info threads` has beside its name. */
export function threadText(machine: Machine, task: TaskStruct): string {
  const cpu = cpuOf(machine, task);
  const where = cpu
    ? `CPU ${cpu.id}${cpu.halted ? ', halted' : ''}`
    : task.state === 0
      ? 'runnable'
      : 'sleeping';
  const state = task.patchState;
  const known = TRANSITION[String(state) as keyof typeof TRANSITION];
  const pending = task.testTif('TIF_PATCH_PENDING') ? ', TIF_PATCH_PENDING' : '';
  return `${where}, patch_state ${state}${known ? ` (${known})` : ''}${pending}`;
}
