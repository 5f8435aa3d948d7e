// A workload on a machine of one model, and what was counted while it ran.
//
// Invariant: the counts are of what happened in the machine: blocks of kernel code as they were executed, events,
// calls of the functions that make up the special paths. Nothing is derived from what the workload meant to do.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBundle, patchModule } from '../bundle/format.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { Machine } from '../machine/machine.ts';
import { parseDuration } from '../scenario/units.ts';
import type { Workload, WorkloadStep } from './compare.ts';
import { Originals } from './compare_originals.ts';

export interface Measures {
  originalInstructions: number;
  delays: number[];
  transitionDelays: number[];
  lateRelocations: number;
  notifiers: number;
  besideTransition: number;
  insideTransition: number;
  failed: string[];
  modules: string[];
  moduleBytes: number;
  blobBytes: number;
}

const ENABLE = '/sys/kernel/livepatch_bundle/enable';
const LIMIT = 120e9;

export async function runModel(work: Workload, model: 'classic' | 'bundle'): Promise<Measures> {
  const machine = await Machine.boot({ model, instructionNs: 2000, heap: 16 << 20, maxTasks: 96 });
  try {
    const run = new Run(machine, work);
    for (const step of work.steps) run.step(step);
    return run.finish();
  } finally {
    machine.close();
  }
}

class Run {
  readonly #machine: Machine;
  readonly #work: Workload;
  readonly #originals: Originals;
  readonly #background: { readonly name: string; readonly task: TaskStruct }[] = [];
  #bundles = 0;
  readonly #m: Measures = {
    originalInstructions: 0,
    delays: [],
    transitionDelays: [],
    lateRelocations: 0,
    notifiers: 0,
    besideTransition: 0,
    insideTransition: 0,
    failed: [],
    modules: [],
    moduleBytes: 0,
    blobBytes: 0,
  };

  constructor(machine: Machine, work: Workload) {
    this.#machine = machine;
    this.#work = work;
    this.#originals = new Originals(machine);
    machine.onBlocks((rip, executed) => {
      this.#m.originalInstructions += this.#originals.count(rip, executed);
    });
    machine.core.events.subscribe(
      (event) => {
        if (event.type === 'gate')
          (event.what === 'load' ? this.#m.delays : this.#m.transitionDelays).push(event.waitedNs);
        if (event.type === 'printk' && /(applying patch|reverting patch) '/.test(event.text)) {
          this.#m.besideTransition++;
          if (machine.livepatch.transitionPatch) this.#m.insideTransition++;
        }
      },
      ['gate', 'printk'],
    );
    this.#countSpecialPaths();
    // Also for threads that ask for them.
    for (const step of work.steps)
      if ('load' in step) machine.addFile(`/lib/modules/${step.load}.ko`, this.#bytes(step.load));
  }

  /** Puts a count in front of what the classic model calls for modules that come and go. */
  #countSpecialPaths(): void {
    const { livepatch, modules } = this.#machine;
    const m = this.#m;
    const coming = livepatch.moduleComing.bind(livepatch);
    const going = livepatch.moduleGoing.bind(livepatch);
    livepatch.moduleComing = (mod) => {
      m.notifiers++;
      return coming(mod);
    };
    livepatch.moduleGoing = (mod) => {
      m.notifiers++;
      return going(mod);
    };
    const { forLivepatch } = modules;
    const apply = forLivepatch.applyObjectRelocs.bind(forLivepatch);
    forLivepatch.applyObjectRelocs = (patch, object) => {
      const elf = modules.loader.modules.byAddr(patch)?.elf;
      for (const section of elf?.sections ?? [])
        if (section.name.startsWith(`.klp.rela.${object}.`)) m.lateRelocations += section.size / 24;
      return apply(patch, object);
    };
  }

  step(step: WorkloadStep): void {
    const machine = this.#machine;
    if ('load' in step) {
      const task = this.#insmod(step.load, step.params);
      if (step.background) this.#background.push({ name: `load ${step.load}`, task });
      else this.#finished(`load ${step.load}`, task);
    } else if ('unload' in step) this.#finished(`unload ${step.unload}`, machine.rmmod(step.unload));
    else if ('enable' in step)
      this.#enable((machine.options.model === 'classic' && step.classic) || step.enable);
    else if ('wait' in step) machine.runFor(parseDuration(step.wait) ?? 0);
    else machine.runUntil(() => !machine.livepatch.transitionPatch, LIMIT);
  }

  #bytes(module: string): Uint8Array {
    return new Uint8Array(readFileSync(join(this.#work.modules, `${module}.ko`)));
  }

  #insmod(module: string, params = ''): TaskStruct {
    this.#machine.addFile(`/lib/modules/${module}.ko`, this.#bytes(module));
    return this.#machine.insmod(`/lib/modules/${module}.ko`, params);
  }

  /** The same patch modules: loaded one by one, or as one bundle. */
  #enable(members: readonly string[]): void {
    const machine = this.#machine;
    if (machine.options.model === 'classic') {
      for (const member of members) {
        this.#finished(`enable ${member}`, this.#insmod(member));
        const last = member === members.at(-1);
        if (!last) machine.runUntil(() => !machine.livepatch.transitionPatch, LIMIT);
      }
      return;
    }
    const files = members.map((member) => ({ file: `${member}.ko`, bytes: this.#bytes(member) }));
    const objects = files.map(({ file, bytes }) => patchModule(file, bytes).object);
    const targets = objects.filter((o) => o !== 'vmlinux').map((o) => [o, this.#bytes(o)] as const);
    const name = `bundle${++this.#bundles}`;
    const bytes = createBundle({ name, version: '1', replace: false, files, targets: new Map(targets) });
    machine.addFile(`/lib/${name}.klpb`, bytes);
    this.#finished(`enable ${name}`, machine.spawn('echo', [`/lib/${name}.klpb`, ENABLE]));
  }

  #finished(what: string, task: TaskStruct): void {
    const machine = this.#machine;
    machine.runUntil(() => machine.exitStatus(task) !== undefined, LIMIT);
    const status = machine.exitStatus(task);
    if (status !== 0) this.#m.failed.push(`${what}: ${status ?? 'not over'}`);
  }

  finish(): Measures {
    const machine = this.#machine;
    for (const { name, task } of this.#background) this.#finished(name, task);
    machine.runUntil(() => !machine.livepatch.transitionPatch, LIMIT);
    this.#m.modules = machine.modules.loader.modules.all.map((mod) => mod.name).sort();
    this.#m.moduleBytes = machine.moduleArena.used();
    this.#m.blobBytes = machine.bundles?.blobBytes() ?? 0;
    return this.#m;
  }
}
