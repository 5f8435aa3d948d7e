// A machine of the bundle model, and bundles made of the fixtures.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/modules');
const TARGETS = ['core', 'mid', 'top'];
export const SECOND = 1e9;
export const ENABLE = '/sys/kernel/livepatch_bundle/enable';

export const ko = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join(FIXTURES, `klpbundle_${name}.ko`)));

/** A bundle of members by the ends of their names; of demo files when they are files. */
export function bundleOf(
  name: string,
  members: readonly string[],
  { replace = false, version = '1' } = {},
): Uint8Array {
  const targets = new Map(TARGETS.map((target) => [`klpbundle_${target}`, ko(target)]));
  const files = members.map((member) => ({ file: `klpbundle_${member}.ko`, bytes: ko(member) }));
  return createBundle({ name, version, replace, files, targets }, X86_64.elf);
}

export class World {
  readonly machine: Machine;
  readonly gate: (KernelEvent & { type: 'gate' })[] = [];

  /** Callbacks of klpbundle_p1_core that ran and were not answered by their opposite, by name of the first. */
  readonly callbacks = { pre_patch: 0, post_patch: 0 };

  constructor(machine: Machine) {
    this.machine = machine;
    machine.events.subscribe((e) => e.type === 'gate' && this.gate.push(e), ['gate']);
    machine.events.subscribe((e) => e.type === 'printk' && this.#noteCallback(e.text), ['printk']);
  }

  static async boot(options: MachineOptions = {}): Promise<World> {
    const fast = { model: 'bundle', instructionNs: 2000, heap: 16 << 20, maxTasks: 96 } as const;
    return new World(await Machine.boot({ ...fast, ...options }));
  }

  #noteCallback(line: string): void {
    const [, name] = /^klpbundle_p1_core: (\w+): klpbundle_core$/.exec(line) ?? [];
    if (name === 'pre_patch') this.callbacks.pre_patch++;
    if (name === 'post_unpatch') this.callbacks.pre_patch--;
    if (name === 'post_patch') this.callbacks.post_patch++;
    if (name === 'pre_unpatch') this.callbacks.post_patch--;
  }

  wait(task: TaskStruct, ns = 120 * SECOND): number | undefined {
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, ns);
    return this.machine.exitStatus(task);
  }
  startInsmod(name: string, args = ''): TaskStruct {
    this.machine.addFile(`/lib/modules/klpbundle_${name}.ko`, ko(name));
    return this.machine.insmod(`/lib/modules/klpbundle_${name}.ko`, args);
  }
  insmod(name: string, args = ''): number | undefined {
    return this.wait(this.startInsmod(name, args));
  }
  rmmod(name: string): number | undefined {
    return this.wait(this.machine.rmmod(`klpbundle_${name}`));
  }
  startEnable(bytes: Uint8Array): TaskStruct {
    this.machine.addFile('/lib/x.klpb', bytes);
    return this.machine.spawn('echo', ['/lib/x.klpb', ENABLE]);
  }
  enable(bytes: Uint8Array): number | undefined {
    return this.wait(this.startEnable(bytes));
  }
  /** Writes to a file of a bundle. */
  write(bundle: string, file: string, text: string): number | undefined {
    return this.wait(this.machine.spawn('echo', [text, `/sys/kernel/livepatch/${bundle}/${file}`]));
  }
  cat(path: string): string {
    const task = this.machine.spawn('cat', [path]);
    this.wait(task);
    return this.machine.stdout(task);
  }
  /** What NAME_step() says to a reader of /proc. */
  says(name: string): number {
    return Number(this.cat(`/proc/klpbundle_${name}`).split(' ')[1]);
  }
  settled(): boolean {
    return this.machine.runUntil(() => !this.machine.inspect.livepatch.transitionPatch, 120 * SECOND);
  }
  /** Until the work that frees what was disabled or replaced has run. */
  freed(name: string): boolean {
    const there = () => this.machine.inspect.fs.list(`/sys/kernel/livepatch/${name}`) !== undefined;
    return (
      this.machine.runUntil(() => !there(), 60 * SECOND) &&
      this.machine.runUntil(
        () => this.modules().every((m) => !/_p\d_/.test(m) || this.isMember(m)),
        10 * SECOND,
      )
    );
  }
  isMember(module: string): boolean {
    const bundles = this.machine.inspect.bundles?.list() ?? [];
    return bundles.some((bundle) => bundle.members.some((m) => m.module?.name === module));
  }
  modules(): string[] {
    return this.machine.inspect.modules.loader.modules.all.map((mod) => mod.name).sort();
  }
  has(line: string | RegExp): boolean {
    const lines = this.machine.dmesg();
    return lines.some((text) => (typeof line === 'string' ? text.includes(line) : line.test(text)));
  }
}
