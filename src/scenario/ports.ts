// What the runner needs of a machine. src/machine has it; tests may put a simpler one in its place.

import type { KernelCore } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { MachineOptions } from '../machine/options.ts';
import type { Explanation } from '../machine/why.ts';
import type { PoseSpec } from './scenario.ts';

/** What a scenario may say of its machine: any option, but how much room there is for modules. */
export type MachineSettings = Omit<MachineOptions, 'moduleArea'>;

export interface ScenarioMachine {
  readonly events: KernelCore['events'];
  readonly inspect: {
    readonly core: Pick<
      KernelCore,
      'arch' | 'events' | 'printk' | 'symbols' | 'tasks' | 'mem' | 'cpus' | 'faults'
    >;
  };
  /** Virtual ns since boot. */
  now(): number;
  addFile(path: string, bytes: Uint8Array): void;
  spawn(program: string, args?: string[], options?: { comm?: string }): TaskStruct;
  insmod(path: string, params?: string): TaskStruct;
  rmmod(name: string): TaskStruct;
  runFor(ns: number): void;
  /** @returns false when `limitNs` went by before the condition held. */
  runUntil(condition: () => boolean, limitNs: number): boolean;
  /** undefined while the task lives. */
  exitStatus(task: TaskStruct): number | undefined;
  stdout(task: TaskStruct): string;
  stack(task: TaskStruct): string[];
  dmesg(): string[];
  /** Why the transition that is under way is not over. */
  why(): Explanation | undefined;
  readText(path: string): string;
  /** What of its schedule has not come to pass. */
  unmetSchedule?(): string[];
  /** Whether a CPU stands still, or a task is kept from one, as a schedule says. */
  holds?(): boolean;
  checks(): { name: string; count: number }[];
  close(): void;
}

/** Starts a task that stands in a chain of functions. @throws PoseError */
export type StartPosed = (pose: PoseSpec, comm: string) => TaskStruct;

/** Loaded only where a task is posed. */
export async function posing(machine: ScenarioMachine): Promise<StartPosed> {
  const [{ Machine }, { PoseError }, { Pose }] = await Promise.all([
    import('../machine/machine.ts'),
    import('../pose/error.ts'),
    import('../pose/pose.ts'),
  ]);
  if (!(machine instanceof Machine)) throw new PoseError('tasks are posed on a machine alone');
  return ({ chain, ms, state }, comm) => new Pose(machine, chain).start({ ms, state, comm }).task;
}

export type BootMachine = (settings: MachineSettings) => Promise<ScenarioMachine>;

/** The machine itself, loaded only when something is to be run. */
export const bootMachine: BootMachine = async (settings) => {
  const { Machine } = await import('../machine/machine.ts');
  return Machine.boot(settings);
};
