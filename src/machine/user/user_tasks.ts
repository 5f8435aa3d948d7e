// User tasks as seen from outside the machine: the programs of asm/x86_64/user, started as a shell would, and what became of
// them, kept when their task_struct is gone.

import type { FileSystem } from '../../fs/filesystem.ts';
import type { Addr } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Fork } from '../../sched/fork.ts';
import { MachineError } from '../machine_error.ts';
import { argumentsOf, noProgram } from './programs.ts';

export class UserTasks {
  readonly #core: KernelCore;
  readonly #sched: Sched;
  readonly #fork: Fork;
  readonly #fs: FileSystem;
  readonly #programs: ReadonlyMap<string, Addr>;
  /** Where each function of their text begins. */
  readonly text: ReadonlyMap<string, Addr>;
  readonly #pids = new WeakMap<TaskStruct, number>();
  readonly #statuses = new WeakMap<TaskStruct, number>();

  constructor(
    core: KernelCore,
    { sched, fork }: { readonly sched: Sched; readonly fork: Fork },
    fs: FileSystem,
    programs: ReadonlyMap<string, Addr>,
    text: ReadonlyMap<string, Addr>,
  ) {
    this.#core = core;
    this.text = text;
    this.#sched = sched;
    this.#fork = fork;
    this.#fs = fs;
    this.#programs = programs;
  }

  /** Names of the programs that can be started. */
  programs(): string[] {
    return [...this.#programs.keys()].sort();
  }

  /** A user task that is not awake yet. @throws MachineError for an unknown program */
  create(program: string, args: readonly string[], comm: string): TaskStruct {
    const entry = this.#programs.get(program);
    if (entry === undefined) {
      throw new MachineError(noProgram(program, this.programs()));
    }
    const task = this.#fork.createUserTask(
      { comm, entry, argv: [program, ...argumentsOf(program, args)] },
      this.#core.tasks.byPid(1),
    );
    this.#fs.setupStdio(task);
    this.#pids.set(task, task.pid);
    return task;
  }

  /** Starts a program. @throws MachineError for an unknown one. */
  spawn(program: string, args: readonly string[], comm: string): TaskStruct {
    // What comes from outside the machine has no caller that a fault could be told to.
    const task = this.#core.faults.without(() => this.create(program, args, comm));
    this.#sched.wakeUpNewTask(task);
    return task;
  }

  /** A task has ended. */
  exited(task: TaskStruct, status: number): void {
    this.#statuses.set(task, status);
  }

  /** The exit code of a task that has ended (0 to 255; 128 + n for signal n); undefined while it lives. */
  exitStatus(task: TaskStruct): number | undefined {
    const status = this.#statuses.get(task);
    if (status === undefined) return undefined;
    return (status & 0x7f) !== 0 ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
  }

  /** The wait status of a task that has ended, as wait4() gives it; undefined while it lives. */
  waitStatus(task: TaskStruct): number | undefined {
    return this.#statuses.get(task);
  }

  /** PID of a task that was spawned here, also after its end. */
  pidOf(task: TaskStruct): number {
    return this.#pids.get(task) ?? task.pid;
  }
}
