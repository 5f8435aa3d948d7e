// The machine that a livepatch is tried on: modules come and go by user tasks, as on any machine, and what the kernel says
// meanwhile is kept.
//
// Invariant: nothing is done to the machine but what a task may do, with two exceptions that are said where they are used: a
// task whose stack nobody can follow (hold()), and allocations that fail.

import type { EventSink, KernelEvent } from '../kernel/events.ts';
import type { Fault, FaultAttr } from '../kernel/fault_inject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../machine/machine.ts';
import type { ModuleObject } from '../mm/kmalloc.ts';
import { ModuleCode } from './module_code.ts';
import type { ModuleLibrary } from './module_library.ts';

const SECOND = 1e9;
/** A transition sends its signals after 15 s: who has not switched after twice of that stays. */
const TRANSITION_NS = 40 * SECOND;
const TASK_NS = 300 * SECOND;
/** Much happens between two ticks, and a second of virtual time passes quickly. */
const FAST: MachineOptions = { instructionNs: 20_000, heap: 32 << 20, maxTasks: 64 };

export interface Outcome {
  /** 0, or a positive errno; undefined: the task never came back. */
  readonly exit: number | undefined;
  /** What the kernel said meanwhile. */
  readonly log: readonly string[];
}

interface LoadedModule {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly params?: string;
  /** Enabled as a bundle is, by its path. */
  readonly isBundle?: boolean;
}

const ENABLE_BUNDLE = '/sys/kernel/livepatch_bundle/enable';

export class World {
  readonly machine: Machine;
  readonly modules: ModuleLibrary;
  readonly oopses: string[] = [];
  /** Of each module that came, as it was the first time. */
  readonly codes = new Map<string, ModuleCode>();
  #log: string[] = [];

  private constructor(machine: Machine, modules: ModuleLibrary) {
    this.machine = machine;
    this.modules = modules;
    machine.events.subscribe(this.#hear, ['printk', 'oops', 'module']);
  }

  /** @throws KernelFileError */
  static async boot(kernel: string, modules: ModuleLibrary, withBundles: boolean): Promise<World> {
    const model = withBundles ? 'bundle' : 'classic';
    const options = { ...FAST, model, ...(kernel === '' ? {} : { kernel }) } as const;
    const world = new World(await Machine.boot(options), modules);
    world.machine.runFor(10e6);
    return world;
  }

  readonly #hear: EventSink = (event: KernelEvent) => {
    if (event.type === 'printk') this.#log.push(event.text);
    if (event.type === 'oops') this.oopses.push(...event.text.split('\n'));
    if (event.type === 'module' && event.state === 'COMING' && !this.codes.has(event.name))
      this.codes.set(event.name, new ModuleCode(this.machine, event.name));
  };

  /** Loads a module, after those that it needs. @param by told of the task that does it, before it runs */
  load(module: LoadedModule, by?: (task: TaskStruct) => void): Outcome {
    return this.#run(() => this.#loading(module), by);
  }

  #loading({ name, bytes, params = '', isBundle = false }: LoadedModule): TaskStruct {
    const path = isBundle ? `/lib/${name}.klpb` : `/lib/modules/${name}.ko`;
    this.machine.addFile(path, bytes);
    return isBundle ? this.machine.spawn('echo', [path, ENABLE_BUNDLE]) : this.machine.insmod(path, params);
  }

  /** Begins to load a module of the library, all that it needs being there. @returns waits for the end */
  begin(name: string): (() => Outcome) | undefined {
    const module = this.modules.order(name)?.at(-1);
    if (!module) return undefined;
    this.#log = [];
    const task = this.#loading(module);
    this.machine.runFor(2 * SECOND);
    return () => this.#ended(task);
  }

  /** Of the library, with what it needs. @returns undefined where it has none of that name */
  loadFromLibrary(name: string, by?: (task: TaskStruct) => void): Outcome | undefined {
    const order = this.modules.order(name);
    if (!order) return undefined;
    let outcome: Outcome = { exit: 0, log: [] };
    for (const { name: needed, bytes } of order) {
      if (needed !== name && this.isLoaded(needed)) continue;
      const isLast = needed === name;
      outcome = this.load({ name: needed, bytes }, isLast ? by : undefined);
      if (outcome.exit !== 0) return outcome;
    }
    return outcome;
  }

  unload(name: string): Outcome {
    return this.#run(() => this.machine.rmmod(name));
  }

  /** Writes to the patch's `enabled`. */
  setEnabled(patch: string, value: '0' | '1'): Outcome {
    return this.#run(() => this.machine.spawn('echo', [value, `/sys/kernel/livepatch/${patch}/enabled`]));
  }

  #run(start: () => TaskStruct, by?: (task: TaskStruct) => void): Outcome {
    this.#log = [];
    const task = start();
    by?.(task);
    return this.#ended(task);
  }

  #ended(task: TaskStruct): Outcome {
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, TASK_NS);
    return { exit: this.machine.exitStatus(task), log: this.#log };
  }

  /** What was said since the last thing that was done. */
  get log(): readonly string[] {
    return this.#log;
  }

  isLoaded(name: string): boolean {
    return this.machine.inspect.modules.find(name) !== undefined;
  }

  /** Its init has run. */
  isLive(name: string): boolean {
    return this.machine.inspect.modules.find(name)?.state === 'LIVE';
  }

  /** Nothing of a bundle is left. */
  isAway(bundle: string): boolean {
    const { livepatch } = this.machine.inspect;
    const isThere = (): boolean => livepatch.patches().some(({ name }) => name === bundle);
    return this.machine.runUntil(() => !isThere(), 10 * SECOND);
  }

  isEnabled(patch: string): boolean {
    return this.machine.inspect.livepatch.patches().some(({ name, enabled }) => name === patch && enabled);
  }

  /** `replace` as the patch has it now. */
  replaces(patch: string): boolean {
    return this.machine.inspect.livepatch.patches().some(({ name, replace }) => name === patch && replace);
  }

  get inTransition(): boolean {
    return this.machine.inspect.livepatch.transitionPatch !== undefined;
  }

  /** @returns whether no transition is under way any more */
  settled(ns = TRANSITION_NS): boolean {
    return this.machine.runUntil(() => !this.inTransition, ns);
  }

  /** The work that frees a patch has run when its module has no reference but the loader's. */
  freed(name: string): boolean {
    const count = (): number => this.machine.inspect.modules.find(name)?.refcount ?? 0;
    return this.machine.runUntil(() => count() === 0, 10 * SECOND);
  }

  /** What modules have on the heap, those that are gone among them. */
  objects(): readonly ModuleObject[] {
    return this.machine.inspect.mm.objects();
  }

  rest(): void {
    this.machine.runFor(2 * SECOND);
  }

  arm(attr: FaultAttr): Fault {
    return this.machine.inspect.core.faults.arm(attr);
  }

  disarm(fault: Fault): void {
    this.machine.inspect.core.faults.disarm(fault);
  }

  /**
   * A task that sleeps, and whose stack cannot be followed until it is let go: no transition switches it meanwhile. Its
   * saved return address is taken away, which is what a stack without a frame table looks like.
   * @returns lets it go
   */
  hold(): () => void {
    const { core } = this.machine.inspect;
    const inactive = core.arch.checking?.inactive;
    if (!inactive) throw new Error(`${core.arch.name} does not say what a sleeping task has on its stack`);
    const task = this.machine.spawn('pause');
    const { TASK_INTERRUPTIBLE: sleeping, TASK_UNINTERRUPTIBLE } = core.kernel.constants;
    // One that was preempted on its way to sleep is still to run.
    const isAsleep = (): boolean => task.state === sleeping && task.onRq === 0 && task.onCpu === 0;
    this.machine.runUntil(isAsleep, SECOND);
    const at = task.sp + BigInt(inactive.pc);
    const address = core.mem.readU64(at);
    core.mem.writeU64(at, 0n);
    // A transition of more than 15 s sends the fake signal: woken by it, the task would return to nowhere.
    task.state = TASK_UNINTERRUPTIBLE;
    return () => {
      core.mem.writeU64(at, address);
      task.state = sleeping;
      const { pid } = task;
      this.#run(() => this.machine.spawn('kill', [String(pid), '9']));
      this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, SECOND);
    };
  }

  close(): void {
    this.machine.close();
  }
}
