// A machine in which nothing happens by itself: time passes, programs end when the test says, the kernel log
// has the lines it was given. For the runner's own rules; what livepatches do is tested on real machines.

import { EventLog } from '../../src/kernel/events.ts';
import { Kallsyms } from '../../src/kernel/kallsyms.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { MachineSettings, ScenarioMachine } from '../../src/scenario/ports.ts';

interface FakeTask {
  pid: number;
  comm: string;
  argv: string[];
  endsAt: number;
  exit: number;
  stdout: string;
  pending: boolean;
}

/** What a program does: how long it takes, its exit code and what it prints. */
export type Behaviour = (argv: string[], now: number) => { ns?: number; exit?: number; stdout?: string };

export class FakeMachine {
  readonly settings: MachineSettings;
  readonly tasks: FakeTask[] = [];
  readonly files = new Map<string, Uint8Array>();
  readonly log: string[] = [];
  readonly spawned: string[] = [];
  readonly events: ScenarioMachine['events'];
  readonly inspect: ScenarioMachine['inspect'];
  closed = false;
  behave: Behaviour;
  #now = 0;

  constructor(settings: MachineSettings, behave: Behaviour) {
    this.settings = settings;
    this.behave = behave;
    const alive = () => this.tasks.filter((task) => task.endsAt > this.#now);
    this.events = new EventLog(() => ({ t: this.#now, cpu: 0 }));
    const core = {
      events: this.events,
      printk: {},
      symbols: new Kallsyms(),
      tasks: {
        idle: [],
        processes: () => alive().map(struct).values(),
        get size() {
          return alive().length;
        },
      },
      mem: { isMapped: () => false },
      cpus: settings.cpus ?? 2,
    };
    this.inspect = { core } as unknown as ScenarioMachine['inspect'];
  }

  now(): number {
    return this.#now;
  }
  addFile(path: string, bytes: Uint8Array): void {
    this.files.set(path, bytes);
  }
  spawn(program: string, args: readonly string[] = [], options: { comm?: string } = {}): TaskStruct {
    const argv = [program, ...args];
    const { ns = 0, exit = 0, stdout = '' } = this.behave(argv, this.#now);
    const pid = 10 + this.tasks.length;
    const task = {
      pid,
      comm: options.comm ?? program,
      argv,
      endsAt: this.#now + ns,
      exit,
      stdout,
      pending: false,
    };
    this.tasks.push(task);
    this.spawned.push(`${this.#now} ${argv.join(' ')}`);
    return struct(task);
  }
  insmod(path: string, params = ''): TaskStruct {
    return this.spawn('insmod', [path, params]);
  }
  rmmod(name: string): TaskStruct {
    return this.spawn('rmmod', [name]);
  }
  runFor(ns: number): void {
    this.runUntil(() => false, ns);
  }
  runUntil(condition: () => boolean, limitNs: number): boolean {
    const end = this.#now + limitNs;
    for (;;) {
      if (condition()) return true;
      if (this.#now >= end) return false;
      const due = this.tasks.filter((task) => task.endsAt > this.#now && task.endsAt <= end);
      this.#now = Math.min(end, ...due.map((task) => task.endsAt));
      // As a real one: nothing takes no time.
      this.#endTasks();
    }
  }
  #endTasks(): void {
    for (const { pid, comm, endsAt, exit } of this.tasks) {
      if (endsAt !== this.#now) continue;
      this.events.emit({ type: 'task', what: 'exit', pid, comm, code: exit });
    }
  }
  exitStatus(task: TaskStruct): number | undefined {
    const found = this.tasks.find((one) => one.pid === task.pid);
    return found && found.endsAt <= this.#now ? found.exit : undefined;
  }
  stdout(task: TaskStruct): string {
    return this.tasks.find((one) => one.pid === task.pid)?.stdout ?? '';
  }
  stack(): string[] {
    return [];
  }
  dmesg(): string[] {
    return this.log;
  }
  why(): undefined {
    return undefined;
  }
  readText(path: string): string {
    throw Object.assign(new Error(`${path}: no such file`), { code: 'ENOENT' });
  }
  checks(): { name: string; count: number }[] {
    return [];
  }
  idle(): boolean {
    return false;
  }
  close(): void {
    this.closed = true;
  }
}

const struct = (task: FakeTask): TaskStruct =>
  ({
    pid: task.pid,
    comm: task.comm,
    testTif: () => task.pending,
    toString: () => `${task.comm}:${task.pid}`,
  }) as unknown as TaskStruct;
