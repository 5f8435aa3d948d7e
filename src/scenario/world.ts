// What is known of a run while it goes on: the machine, the tasks by the names of the scenario, the facts,
// what was printed by whom. Checks look at it, the runner adds to it.
//
// Invariant: nothing is read from the task_struct of a task that has ended; it may be another's by then.

import type { KernelEvent } from '../kernel/events.ts';
import type { Fault } from '../kernel/fault_inject.ts';
import { logPrefix } from '../kernel/printk.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { ScenarioMachine } from './ports.ts';
import type { Recorder } from './recorder.ts';
import type { ActionStep } from './scenario.ts';

/** A task, and what is left of it when it has ended. */
export class KnownTask {
  readonly task: TaskStruct;
  readonly pid: number;
  readonly comm: string;
  /** Exit code; undefined while it lives. */
  exit: number | undefined;
  readonly #machine: ScenarioMachine;
  #stdout: string | undefined;

  constructor(task: TaskStruct, machine: ScenarioMachine) {
    this.task = task;
    this.pid = task.pid;
    this.comm = task.comm;
    this.#machine = machine;
  }

  get alive(): boolean {
    return this.exit === undefined;
  }
  get stdout(): string {
    return this.#stdout ?? this.#machine.stdout(this.task);
  }
  /** Has it still to switch? */
  get pending(): boolean {
    return this.alive && this.task.testTif('TIF_PATCH_PENDING');
  }
  /** Lines of /proc/PID/stack; none when it is gone. */
  stack(): string[] {
    return this.alive && this.task.stackSlot >= 0 ? this.#machine.stack(this.task) : [];
  }

  /** Called when it exits, while its task_struct is still its own. */
  ended(): void {
    this.exit = this.#machine.exitStatus(this.task) ?? 0;
    this.#stdout = this.#machine.stdout(this.task);
  }

  toString(): string {
    return `${this.comm}:${this.pid}`;
  }
}

/** An action of the scenario, from its start to its exit. */
export interface ActionRun {
  readonly step: ActionStep;
  readonly task: KnownTask;
  readonly startedAt: number;
  /** Lines of dmesg that there were when it started. */
  readonly dmesgFrom: number;
  /** Armed for it, in the order of the step's. */
  readonly faults: readonly Fault[];
  endedAt?: number;
  /** Held against what the step expects. */
  judged?: boolean;
}

export class World {
  readonly machine: ScenarioMachine;
  readonly facts: Recorder;
  readonly actions: ActionRun[] = [];
  /** Names of the modules that the scenario brings, to be loaded by whomever; undefined: others may come. */
  readonly modules: readonly string[] | undefined;
  readonly #byName = new Map<string, KnownTask[]>();
  readonly #byPid = new Map<number, KnownTask>();
  /** Lines that the log buffer has no more. */
  readonly #overwritten: string[] = [];

  constructor(machine: ScenarioMachine, facts: Recorder, modules?: readonly string[]) {
    this.machine = machine;
    this.facts = facts;
    this.modules = modules;
    machine.inspect.core.printk.onOverwritten = ({ t, text }) => this.#overwritten.push(logPrefix(t) + text);
  }

  /** Everything that was logged, also what the log buffer has no more: what is said of a run is about all of it. */
  log(): string[] {
    return [...this.#overwritten, ...this.machine.dmesg()];
  }

  /** To be called with every event. @returns the action that ends with it. */
  record(event: KernelEvent): ActionRun | undefined {
    this.facts.record(event);
    if (event.type !== 'task' || event.what !== 'exit') return undefined;
    const known = this.#byPid.get(event.pid);
    if (!known?.alive) return undefined;
    known.ended();
    const action = this.actions.find(({ task }) => task === known);
    if (action) action.endedAt = this.machine.now();
    return action;
  }

  /** From now on the task is remembered, also when it has ended. */
  know(task: TaskStruct, name?: string): KnownTask {
    const known = new KnownTask(task, this.machine);
    this.#byPid.set(known.pid, known);
    if (name !== undefined) this.#byName.set(name, [...(this.#byName.get(name) ?? []), known]);
    return known;
  }

  /** Tasks that the scenario started under a name, dead ones too; else those alive with that comm or pid. */
  tasks(name: string): KnownTask[] {
    return this.#byName.get(name) ?? this.#find(name).map((task) => new KnownTask(task, this.machine));
  }

  #find(name: string): TaskStruct[] {
    const { tasks } = this.machine.inspect.core;
    const all = [...tasks.processes(), ...tasks.idle];
    if (/^\d+$/.test(name)) return all.filter((task) => task.pid === Number(name));
    return all.filter((task) => task.comm === name);
  }

  /** Every task that lives, idle tasks last. */
  all(): KnownTask[] {
    const { tasks } = this.machine.inspect.core;
    return [...tasks.processes(), ...tasks.idle].map((task) => new KnownTask(task, this.machine));
  }

  /** comm:pid of the tasks that are there, for messages. */
  taskList(): string {
    return [...this.machine.inspect.core.tasks.processes()].join(', ');
  }

  /** Tasks that have yet to switch. */
  pendingCount(): number {
    const { tasks } = this.machine.inspect.core;
    let count = 0;
    for (const task of tasks.processes()) if (task.testTif('TIF_PATCH_PENDING')) count++;
    for (const task of tasks.idle) if (task.testTif('TIF_PATCH_PENDING')) count++;
    return count;
  }

  /** Everything that actions and the scenario's tasks have printed. */
  outputs(): string[] {
    return [...this.#byPid.values()].map((task) => task.stdout);
  }
}
