// A workload on a machine of one model: its steps, one after the other, with the faults that they ask for.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBundle, patchModule } from '../../bundle/format.ts';
import { ElfError } from '../../elf/error.ts';
import { unpack } from '../../elf/unpack.ts';
import { FAULT_POINTS, type Fault, type FaultAttr } from '../../kernel/fault_inject.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import { Machine } from '../../machine/machine.ts';
import { parseDuration } from '../../scenario/units.ts';
import { systemReason, UsageError } from '../exit.ts';
import { type Counts, countOn } from './count.ts';
import { leftBehind, lookAt } from './left.ts';
import { moduleFile, type Workload, type WorkloadFault, type WorkloadStep } from './workload.ts';

export type Model = 'classic' | 'bundle';

export interface Measures extends Counts {
  /** Steps that failed, with the exit status of their tools. */
  failed: string[];
  /** What was made to fail, in words. */
  injected: string[];
  /** What each step that failed for a fault left behind. */
  left: string[][];
  /** Of steps with `faults: every`. */
  points: Points;
  modules: string[];
  moduleBytes: number;
  heapBytes: number;
  blobBytes: number;
}

export interface Points {
  /** Calls that were made to fail, each in a run of its own. */
  tried: number;
  /** Those after which something was there that had not been there before. */
  leaving: number;
  /** Those after which the step failed once more, with nothing made to fail. */
  lasting: number;
  /** What each of the leaving ones left. */
  left: string[];
}

const ENABLE = '/sys/kernel/livepatch_bundle/enable';
const LIMIT = 120e9;
/** Until the work that frees what has gone has run. */
const REST = 2e9;

/**
 * @param stride of `faults: every`: 1 for all of them, 2 for every other one
 * @param onPoint called after each of them, with how many there were
 */
export async function runModel(
  work: Workload,
  model: Model,
  stride = 1,
  onPoint: (tried: number) => void = () => {},
): Promise<Measures> {
  const points = await everyFault(work, model, stride, onPoint);
  const run = await Run.boot(work, model);
  try {
    for (const step of work.steps) run.step(step);
    return run.finish(points);
  } finally {
    run.close();
  }
}

/** Makes every call that can fail in the steps that ask for it fail, each on a machine that has done what precedes. */
async function everyFault(
  work: Workload,
  model: Model,
  stride: number,
  onPoint: (tried: number) => void,
): Promise<Points> {
  const points: Points = { tried: 0, leaving: 0, lasting: 0, left: [] };
  for (const [index, step] of work.steps.entries()) {
    if (!('faults' in step) || step.faults !== 'every') continue;
    for (let nth = 1; await oneFault(work, model, index, nth, points); nth += stride) onPoint(points.tried);
  }
  return points;
}

/** @returns false when the step has fewer calls that can fail. */
async function oneFault(
  work: Workload,
  model: Model,
  index: number,
  nth: number,
  points: Points,
): Promise<boolean> {
  const run = await Run.boot(work, model);
  try {
    for (const step of work.steps.slice(0, index)) run.step(step);
    const { injected, failed, left } = run.failing(work.steps[index], [{ point: FAULT_POINTS, nth }]);
    if (injected.length === 0) return false;
    points.tried++;
    if (!failed) return true;
    if (left.length > 0) points.left.push(`${injected[0]}: ${left.join('; ')}`);
    if (left.length > 0) points.leaving++;
    if (!run.step({ ...work.steps[index], faults: [] } as WorkloadStep)) points.lasting++;
    return true;
  } finally {
    run.close();
  }
}

class Run {
  readonly #machine: Machine;
  readonly #work: Workload;
  readonly #counts: Counts;
  readonly #heap: number;
  readonly #background: { readonly name: string; readonly task: TaskStruct }[] = [];
  /** Tasks of the step under way: its faults are theirs. */
  readonly #doers = new Set<TaskStruct>();
  readonly #failed: string[] = [];
  readonly #injected: string[] = [];
  readonly #left: string[][] = [];
  #bundles = 0;

  static async boot(work: Workload, model: Model): Promise<Run> {
    const machine = await Machine.boot({ model, instructionNs: 2000, heap: 16 << 20, maxTasks: 96 });
    try {
      return new Run(machine, work);
    } catch (error) {
      machine.close();
      throw error;
    }
  }

  private constructor(machine: Machine, work: Workload) {
    this.#machine = machine;
    this.#work = work;
    this.#counts = countOn(machine);
    this.#heap = machine.inspect.core.slab.used();
    // Also for threads that ask for them.
    for (const step of work.steps)
      if ('load' in step) machine.addFile(`/lib/modules/${step.load}.ko`, this.#bytes(step.load));
  }

  close(): void {
    this.#machine.close();
  }

  /** @returns whether it succeeded, as far as that is known already. */
  step(step: WorkloadStep): boolean {
    const faults = 'faults' in step && Array.isArray(step.faults) ? step.faults : [];
    if (faults.length === 0) return this.#do(step);
    const { failed, injected, left } = this.failing(step, faults.map(faultAttr));
    this.#injected.push(...injected);
    if (failed) this.#left.push(left.length > 0 ? left : ['nothing']);
    return !failed;
  }

  /** A step with faults; what it left behind, when it failed and all has come to rest. */
  failing(
    step: WorkloadStep,
    attrs: readonly FaultAttr[],
  ): { failed: boolean; injected: string[]; left: string[] } {
    const before = this.#look();
    const { faults: point } = this.#machine.inspect.core;
    const by = (task: TaskStruct): boolean => this.#doers.has(task);
    const faults: Fault[] = attrs.flatMap((attr) => point?.arm({ ...attr, by }) ?? []);
    const failed = !this.#do(step);
    for (const fault of faults) point?.disarm(fault);
    const injected = faults.flatMap((fault) => fault.injected);
    return { failed, injected, left: failed ? leftBehind(before, this.#look()) : [] };
  }

  #look() {
    this.#settle();
    this.#machine.runFor(REST);
    return lookAt(this.#machine);
  }

  #settle(): void {
    this.#machine.runUntil(() => !this.#machine.inspect.livepatch.transitionPatch, LIMIT);
  }

  #do(step: WorkloadStep): boolean {
    const machine = this.#machine;
    this.#doers.clear();
    if ('load' in step) {
      const task = this.#insmod(step.load, step.params);
      if (!step.background) return this.#finished(`load ${step.load}`, task);
      this.#background.push({ name: `load ${step.load}`, task });
    } else if ('unload' in step)
      return this.#finished(`unload ${step.unload}`, this.#doer(machine.rmmod(step.unload)));
    else if ('enable' in step) return this.#enable(step);
    else if ('wait' in step) machine.runFor(parseDuration(step.wait) ?? 0);
    else this.#settle();
    return true;
  }

  #bytes(module: string): Uint8Array {
    const { modules } = this.#work;
    const file = moduleFile(modules, module) ?? join(modules, `${module}.ko`);
    try {
      return unpack(readFileSync(file), file);
    } catch (error) {
      if (error instanceof ElfError) throw new UsageError(error.message);
      throw new UsageError(`${file}: ${systemReason(error)}`);
    }
  }

  #doer(task: TaskStruct): TaskStruct {
    this.#doers.add(task);
    return task;
  }

  #insmod(module: string, params = ''): TaskStruct {
    this.#machine.addFile(`/lib/modules/${module}.ko`, this.#bytes(module));
    return this.#doer(this.#machine.insmod(`/lib/modules/${module}.ko`, params));
  }

  /** The same patch modules: loaded one by one until one fails, or as one bundle. */
  #enable(step: Extract<WorkloadStep, { enable: unknown }>): boolean {
    const machine = this.#machine;
    if (machine.options.model === 'bundle') return this.#enableBundle(step.enable);
    for (const [i, member] of (step.classic ?? step.enable).entries()) {
      if (i > 0) this.#settle();
      if (!this.#finished(`enable ${member}`, this.#insmod(member))) return false;
    }
    return true;
  }

  #enableBundle(members: readonly string[]): boolean {
    const machine = this.#machine;
    const files = members.map((member) => ({ file: `${member}.ko`, bytes: this.#bytes(member) }));
    const objects = files.map(({ file, bytes }) => patchModule(file, bytes).object);
    const targets = objects.filter((o) => o !== 'vmlinux').map((o) => [o, this.#bytes(o)] as const);
    const name = `bundle${++this.#bundles}`;
    const bytes = createBundle({ name, version: '1', replace: false, files, targets: new Map(targets) });
    machine.addFile(`/lib/${name}.klpb`, bytes);
    return this.#finished(`enable ${name}`, this.#doer(machine.spawn('echo', [`/lib/${name}.klpb`, ENABLE])));
  }

  #finished(what: string, task: TaskStruct): boolean {
    const machine = this.#machine;
    machine.runUntil(() => machine.exitStatus(task) !== undefined, LIMIT);
    const status = machine.exitStatus(task);
    if (status !== 0) this.#failed.push(`${what}: ${status ?? 'not over'}`);
    return status === 0;
  }

  finish(points: Points): Measures {
    const machine = this.#machine;
    for (const { name, task } of this.#background) this.#finished(name, task);
    this.#settle();
    return {
      ...this.#counts,
      failed: this.#failed,
      injected: this.#injected,
      left: this.#left,
      points,
      modules: machine.inspect.modules.loader.modules.all.map((mod) => mod.name).sort(),
      moduleBytes: machine.inspect.moduleArena.used(),
      heapBytes: machine.inspect.core.slab.used() - this.#heap,
      blobBytes: machine.inspect.bundles?.blobBytes() ?? 0,
    };
  }
}

function faultAttr({ fail, nth, times, of }: WorkloadFault): FaultAttr {
  return {
    point: fail === 'allocation' ? ['kmalloc', 'module_alloc'] : fail,
    ...(nth === undefined ? {} : { nth }),
    ...(times === undefined ? {} : { times }),
    ...(of === undefined ? {} : { of }),
  };
}
