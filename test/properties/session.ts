// A machine driven by user tasks, and the paths and modules of the fixtures, for tests of whole operations.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

/** Upwards from here, wherever this was built to. */
function projectRoot(from = import.meta.dirname): string {
  return existsSync(join(from, 'fixtures')) ? from : projectRoot(dirname(from));
}

const FIXTURES = join(projectRoot(), 'fixtures/modules');
const SECOND = 1e9;
const bytes = new Map<string, Uint8Array>();

function moduleBytes(name: string): Uint8Array {
  let found = bytes.get(name);
  if (!found) {
    found = new Uint8Array(readFileSync(join(FIXTURES, `klpdemo_${name}.ko`)));
    bytes.set(name, found);
  }
  return found;
}

/** Much happens between two ticks, and a second of virtual time passes quickly. */
export const FAST: MachineOptions = {
  instructionNs: 20_000,
  heap: 4 << 20,
  moduleArea: 2 << 20,
  maxTasks: 64,
};

export class Session {
  readonly machine: Machine;
  readonly oopses: KernelEvent[] = [];

  constructor(machine: Machine) {
    this.machine = machine;
    machine.events.subscribe((event) => this.oopses.push(event), ['oops']);
  }

  static async boot(options: MachineOptions = {}): Promise<Session> {
    return new Session(await Machine.boot({ ...FAST, ...options }));
  }

  /** Runs a task to its end. @returns its exit code; undefined when it is not over in time. */
  ended(task: TaskStruct, ns = 120 * SECOND): number | undefined {
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, ns);
    return this.machine.exitStatus(task);
  }

  /** @throws Error with its stack when it does not come to its end. */
  wait(task: TaskStruct, ns?: number): number {
    const code = this.ended(task, ns);
    if (code === undefined) throw new Error(`${task} has not ended: ${this.machine.stack(task).join(' ')}`);
    return code;
  }

  startInsmod(name: string, args = ''): TaskStruct {
    const path = `/lib/modules/klpdemo_${name}.ko`;
    this.machine.addFile(path, moduleBytes(name));
    return this.machine.insmod(path, args);
  }
  startRmmod(name: string): TaskStruct {
    return this.machine.rmmod(`klpdemo_${name}`);
  }
  startEcho(text: string, path: string): TaskStruct {
    return this.machine.spawn('echo', [text, path]);
  }
  /** To a file of a patch, given by its module's name. */
  startWrite(patch: string, file: 'enabled' | 'force', text: string): TaskStruct {
    return this.startEcho(text, `/sys/kernel/livepatch/${patch}/${file}`);
  }
  startEnabled(name: string, value: '0' | '1'): TaskStruct {
    return this.startWrite(`klpdemo_${name}`, 'enabled', value);
  }

  insmod(name: string, args = ''): number {
    return this.wait(this.startInsmod(name, args));
  }
  rmmod(name: string): number {
    return this.wait(this.startRmmod(name));
  }
  echo(text: string, path: string): number {
    return this.wait(this.startEcho(text, path));
  }
  enabled(name: string, value: '0' | '1'): number {
    return this.wait(this.startEnabled(name, value));
  }
  cat(path: string): string {
    const task = this.machine.spawn('cat', [path]);
    this.wait(task);
    return this.machine.stdout(task);
  }

  get inTransition(): boolean {
    return this.machine.inspect.livepatch.transitionPatch !== undefined;
  }
  /** @returns whether no transition is under way any more. */
  settled(ns = 120 * SECOND): boolean {
    return this.machine.runUntil(() => !this.inTransition, ns);
  }
  /** The work that frees a patch has run when its module has no reference but the loader's. */
  freed(name: string): boolean {
    const mod = () => this.machine.inspect.modules.find(`klpdemo_${name}`);
    return this.machine.runUntil(() => (mod()?.refcount ?? 0) === 0, 10 * SECOND);
  }
}

export const TARGET_PARAMETERS = '/sys/module/klpdemo_target/parameters';
