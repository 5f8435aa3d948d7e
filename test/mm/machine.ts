// A machine with the modules that try memory, locks and files; and what a task in it printed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/guest/package_root.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

const SECOND = 1e9;

export class HeapMachine {
  readonly machine: Machine;
  readonly leaks: Extract<KernelEvent, { type: 'leak' }>[] = [];

  private constructor(machine: Machine) {
    this.machine = machine;
    machine.events.subscribe((e) => e.type === 'leak' && this.leaks.push(e), ['leak']);
    for (const name of ['klpdemo_heap', 'klpdemo_locks']) {
      machine.addFile(`/${name}.ko`, readFileSync(join(packageRoot(), 'fixtures/modules', `${name}.ko`)));
    }
  }

  static async boot(options: MachineOptions = {}): Promise<HeapMachine> {
    return new HeapMachine(await Machine.boot(options));
  }

  /** Runs until the task has ended; its exit status. */
  finish(task: TaskStruct): number | undefined {
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, 60 * SECOND);
    return this.machine.exitStatus(task);
  }

  insmod(name: string, params = ''): number | undefined {
    return this.finish(this.machine.insmod(`/${name}.ko`, params));
  }
  rmmod(name: string): number | undefined {
    return this.finish(this.machine.rmmod(name));
  }

  cat(path: string): string {
    const task = this.machine.spawn('cat', [path]);
    return this.finish(task) === 0 ? this.machine.stdout(task) : 'failed';
  }
  echo(text: string, path: string): number | undefined {
    return this.finish(this.machine.spawn('echo', [`${text}\n`, path]));
  }

  /** The log without times, from the first line that has `text` on. */
  logFrom(text: string): string[] {
    const lines = this.machine.dmesg().map((line) => line.replace(/^\[.*?\] /, ''));
    const start = lines.findIndex((line) => line.includes(text));
    return start < 0 ? [] : lines.slice(start);
  }
}
