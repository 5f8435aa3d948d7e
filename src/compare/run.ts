// A scenario with `models` on a machine of one model: its steps, one after the other, with the faults that they ask for.

import { readFileSync } from 'node:fs';
import { createBundle } from '../bundle/format.ts';
import type { KernelEvent } from '../kernel/events.ts';
import { FAULT_POINTS, type Fault, type FaultAttr } from '../kernel/fault_inject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { Machine } from '../machine/machine.ts';
import { startAction } from '../scenario/actions.ts';
import { faultAttr } from '../scenario/faults.ts';
import { machineSettings } from '../scenario/machine_settings.ts';
import type { ActionStep, ComparedStep, Model, PatchStep, TaskSpec } from '../scenario/scenario.ts';
import { makeSubmodules } from '../submodules/make.ts';
import { bundledFiles } from './bundled.ts';
import type { Workload } from './comparison.ts';
import { type Counts, countOn } from './count.ts';
import { leftBehind, lookAt } from './left.ts';

/** Steps that can fail. */
type DoingStep = ActionStep | PatchStep;

export const isDoing = (step: ComparedStep): step is DoingStep => 'everyFault' in step;

export interface Measures extends Counts {
  /** Steps that failed, with the exit status of their tools. */
  failed: string[];
  /** What was made to fail, in words. */
  injected: string[];
  /** What each step that reads has read. */
  said: string[];
  /** What each step that failed for a fault left behind. */
  left: string[][];
  /** Of steps with `faults: every`. */
  points: Points;
  modules: string[];
  moduleBytes: number;
  heapBytes: number;
  blobBytes: number;
}

interface Points {
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
/** Until the work that frees what has gone has run. */
const REST = 2e9;

/** Told of the run under a model, of which each failure point has none. */
export interface ModelObserver {
  begin(machine: Machine): void;
  event(event: KernelEvent): void;
  /** When it has begun, and between two steps. */
  flush(): Promise<void>;
  ended(): void;
}

/**
 * @param stride of `faults: every`: 1 for all of them, 2 for every other one
 * @param onPoint called after each of them, with how many there were
 */
export async function runModel(
  work: Workload,
  model: Model,
  stride = 1,
  onPoint: (tried: number) => void = () => {},
  observer?: ModelObserver,
): Promise<Measures> {
  const points = await everyFault(work, model, stride, onPoint);
  const run = await Run.boot(work, model, observer);
  try {
    for (const step of work.steps) {
      run.step(step);
      await observer?.flush();
    }
    const measures = run.finish(points);
    await observer?.flush();
    observer?.ended();
    return measures;
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
  for (const step of work.steps) {
    if (!isDoing(step) || !step.everyFault) continue;
    for (let nth = 1; await oneFault(work, model, step, nth, points); nth += stride) onPoint(points.tried);
  }
  return points;
}

/** @returns false when the step has fewer calls that can fail. */
async function oneFault(
  work: Workload,
  model: Model,
  step: DoingStep,
  nth: number,
  points: Points,
): Promise<boolean> {
  const run = await Run.boot(work, model);
  try {
    for (const before of work.steps.slice(0, work.steps.indexOf(step))) run.step(before);
    const { injected, failed, left } = run.failing(step, [{ point: FAULT_POINTS, nth }]);
    if (injected.length === 0) return false;
    points.tried++;
    if (!failed) return true;
    if (left.length > 0) points.left.push(`${injected[0]}: ${left.join('; ')}`);
    if (left.length > 0) points.leaving++;
    if (!run.step({ ...step, faults: [] })) points.lasting++;
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
  /** By the names of the scenario. */
  readonly #spawned = new Map<string, TaskStruct[]>();
  readonly #failed: string[] = [];
  readonly #said: string[] = [];
  readonly #injected: string[] = [];
  readonly #left: string[][] = [];
  #bundles = 0;

  static async boot(work: Workload, model: Model, observer?: ModelObserver): Promise<Run> {
    const machine = await Machine.boot({ ...machineSettings(work, undefined), model });
    try {
      observer?.begin(machine);
      await observer?.flush();
      if (observer) machine.events.subscribe((event) => observer.event(event));
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
    for (const { name, guestPath } of work.modules) machine.addFile(guestPath, this.#bytes(name));
    for (const { guestPath, text, from } of work.files)
      machine.addFile(guestPath, text === undefined ? readFileSync(from as string) : Buffer.from(text));
  }

  close(): void {
    this.#machine.close();
  }

  /** @returns whether it succeeded, as far as that is known already. */
  step(step: ComparedStep): boolean {
    if (!isDoing(step) || step.faults.length === 0) return this.#do(step);
    const attrs = step.faults.map((spec) => faultAttr(spec));
    const { failed, injected, left } = this.failing(step, attrs);
    this.#injected.push(...injected);
    if (failed) this.#left.push(left.length > 0 ? left : ['nothing']);
    return !failed;
  }

  /** A step with faults; what it left behind, when it failed and all has come to rest. */
  failing(
    step: DoingStep,
    attrs: readonly FaultAttr[],
  ): { failed: boolean; injected: string[]; left: string[] } {
    const before = this.#look();
    const { faults: point } = this.#machine.inspect.core;
    const by = (task: TaskStruct): boolean => this.#doers.has(task);
    const faults: Fault[] = attrs.map((attr) => point.arm({ ...attr, by }));
    const failed = !this.#do(step);
    for (const fault of faults) point.disarm(fault);
    const injected = faults.flatMap((fault) => fault.injected);
    return { failed, injected, left: failed ? leftBehind(before, this.#look()) : [] };
  }

  #look() {
    this.#settle();
    this.#machine.runFor(REST);
    return lookAt(this.#machine);
  }

  #settle(): void {
    this.#until(() => !this.#machine.inspect.livepatch.transitionPatch);
  }

  #until(condition: () => boolean): void {
    const left = this.#work.limit - this.#machine.now();
    if (left > 0) this.#machine.runUntil(condition, left);
  }

  #do(step: ComparedStep): boolean {
    const machine = this.#machine;
    this.#doers.clear();
    switch (step.verb) {
      case 'patch':
        return this.#patch(step);
      case 'settle':
        this.#settle();
        return true;
      case 'wait':
        machine.runFor(step.duration);
        return true;
      case 'spawn':
        this.#spawn(step.task);
        return true;
      case 'kill':
        this.#kill(step.task, step.signal);
        return true;
      default:
        return this.#act(step);
    }
  }

  #act(step: ActionStep): boolean {
    const name = step.module
      ? `load ${step.module.name}`
      : step.verb === 'unload'
        ? `unload ${step.target}`
        : step.command;
    const task = this.#doer(startAction(this.#machine, step));
    if (!step.background) {
      const succeeded = this.#finished(name, task);
      if (step.verb === 'read') this.#said.push(this.#machine.stdout(task));
      return succeeded;
    }
    this.#background.push({ name, task });
    return true;
  }

  #spawn({ name, program, args, comm, count }: TaskSpec): void {
    const tasks = Array.from({ length: count }, () => this.#machine.spawn(program, [...args], { comm }));
    this.#spawned.set(name, [...(this.#spawned.get(name) ?? []), ...tasks]);
  }

  /** Those that were spawned under a name; else those with that comm or pid. */
  #kill(name: string, signal: number): void {
    const machine = this.#machine;
    const named = this.#spawned.get(name)?.filter((task) => machine.exitStatus(task) === undefined);
    const all = [...machine.inspect.core.tasks.processes()];
    const found = named ?? all.filter(({ comm, pid }) => comm === name || String(pid) === name);
    for (const { pid } of found) machine.spawn('kill', [String(pid), String(signal)]);
  }

  #bytes(module: string): Uint8Array {
    return this.#work.bytes.get(module) ?? new Uint8Array();
  }

  #doer(task: TaskStruct): TaskStruct {
    this.#doers.add(task);
    return task;
  }

  /** The same patch modules: loaded one by one until one fails, as one bundle, or as modules that modprobe loads. */
  #patch({ members, classic }: PatchStep): boolean {
    const machine = this.#machine;
    const names = members.map(({ module }) => module.name);
    if (machine.options.model === 'bundle') return this.#enableBundle(names);
    if (machine.options.model === 'per-object modules') return this.#enableSubmodules(names);
    for (const [i, { module }] of classic.entries()) {
      if (i > 0) this.#settle();
      if (!this.#finished(`enable ${module.name}`, this.#doer(machine.insmod(module.guestPath))))
        return false;
    }
    return true;
  }

  #enableBundle(members: readonly string[]): boolean {
    const machine = this.#machine;
    const { arch, kernel } = machine.inspect.core;
    const name = `bundle${++this.#bundles}`;
    const files = members.flatMap((member) =>
      bundledFiles(member, this.#bytes(member), name, machine.inspect.core.kernel),
    );
    const objects = files.map(({ object }) => object);
    const targets = objects.filter((o) => o !== 'vmlinux').map((o) => [o, this.#bytes(o)] as const);
    const source = { name, version: '1', replace: false, files, targets: new Map(targets) };
    const bytes = createBundle(source, arch.elf, kernel);
    machine.addFile(`/lib/${name}.klpb`, bytes);
    return this.#finished(`enable ${name}`, this.#doer(machine.spawn('echo', [`/lib/${name}.klpb`, ENABLE])));
  }

  #enableSubmodules(members: readonly string[]): boolean {
    const machine = this.#machine;
    const name = `patch${++this.#bundles}`;
    const files = members.flatMap((member) =>
      bundledFiles(member, this.#bytes(member), name, machine.inspect.core.kernel),
    );
    const modules = makeSubmodules(name, files, machine.inspect.core.arch.elf, machine.inspect.core.kernel);
    for (const { file, bytes } of modules) machine.addFile(`/lib/modules/${file}`, bytes);
    return this.#finished(`enable ${name}`, this.#doer(machine.insmod(`/lib/modules/${name}.ko`)));
  }

  #finished(what: string, task: TaskStruct): boolean {
    const machine = this.#machine;
    this.#until(() => machine.exitStatus(task) !== undefined);
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
      said: this.#said,
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
