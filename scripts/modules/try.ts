// Loads every module of a distribution's kernel on machines with that kernel, those it needs before it.
//
// Invariant: a module that does not load was tried on a machine where nothing had gone wrong before.

import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { type Outcome, oopsIn } from './outcome.ts';
import { SoftDependencies } from './soft_dependencies.ts';

export interface TriedModule {
  readonly name: string;
  /** Of its folder: the first word of its path below `kernel`. */
  readonly folder: string;
  readonly outcome: Outcome;
}

type Order = NonNullable<ReturnType<ModuleLibrary['order']>>;

/** Virtual time that one load may take: algorithms are tested by their kernel before anybody has them, RSA for minutes. */
const PATIENCE_NS = 400e9;
/** A machine takes that many; then comes another one, so that what they hold of memory goes. */
const MOST_LOADED = 200;
const REAL_TIME_MS = 60_000;

export class ModuleTrial {
  readonly #kernel: string;
  readonly #library: ModuleLibrary;
  readonly #soft: SoftDependencies;
  #machine: Machine | undefined;
  /** Those that the machine has. */
  readonly #loaded = new Set<string>();
  /** Of all machines so far. */
  readonly #known = new Map<string, Outcome>();
  /** Whose outcome is being found: of two that softly need each other one comes without. */
  readonly #asked = new Set<string>();
  /** Nothing has failed on this machine yet. */
  #isClean = true;

  constructor(kernel: string, folder: string) {
    this.#kernel = kernel;
    this.#library = new ModuleLibrary(X86_64.elf, folder);
    this.#soft = new SoftDependencies(X86_64.elf, folder);
  }

  close(): void {
    this.#machine?.close();
    this.#machine = undefined;
    this.#loaded.clear();
    this.#isClean = true;
  }

  async outcome(name: string): Promise<Outcome> {
    const known = this.#known.get(name);
    if (known) return known;
    this.#asked.add(name);
    const outcome = await this.#tried(name);
    this.#asked.delete(name);
    this.#known.set(name, outcome);
    return outcome;
  }

  async #tried(name: string): Promise<Outcome> {
    const hard = this.#library.order(name);
    if (!hard) return { kind: 'needs', module: 'one that is not there' };
    for (const needed of hard.slice(0, -1)) {
      const theirs = await this.outcome(needed.name);
      if (theirs.kind === 'needs') return theirs;
      if (theirs.kind !== 'runs') return { kind: 'needs', module: needed.name };
    }
    const order = await this.#withSoft(hard);
    if (this.#loaded.size > MOST_LOADED) this.close();
    const first = await this.#load(order);
    if (first.kind === 'runs' || this.#wasClean) return first;
    this.close();
    return this.#load(order);
  }

  /** As modprobe has it: those that do not load do not matter. */
  async #withSoft(hard: Order): Promise<Order> {
    const order: Order[number][] = [];
    const add = (one: Order[number]): void => {
      if (!order.some(({ name }) => name === one.name)) order.push(one);
    };
    for (const one of hard) {
      for (const soft of this.#soft.before(one.bytes, one.name)) {
        if (!this.#library.has(soft) || this.#asked.has(soft)) continue;
        if ((await this.outcome(soft)).kind !== 'runs') continue;
        for (const before of this.#library.order(soft) ?? []) add(before);
      }
      add(one);
    }
    return order;
  }

  #wasClean = true;

  async #load(order: Order): Promise<Outcome> {
    this.#machine ??= await this.#boot();
    this.#wasClean = this.#isClean;
    let outcome: Outcome = { kind: 'runs' };
    for (const { name, bytes } of order) {
      if (this.#loaded.has(name)) continue;
      outcome = this.#insmod(this.#machine, name, bytes);
      if (outcome.kind !== 'runs') break;
      this.#loaded.add(name);
    }
    if (outcome.kind === 'refused') this.#isClean = false;
    else if (outcome.kind !== 'runs') this.close();
    return outcome;
  }

  async #boot(): Promise<Machine> {
    const machine = await Machine.boot({ kernel: this.#kernel, cpus: 1 });
    machine.runFor(100e6);
    return machine;
  }

  #insmod(machine: Machine, name: string, bytes: Uint8Array): Outcome {
    const { printk } = machine.inspect.core;
    const seen = printk.nextSeq;
    const logged = (): string[] => printk.since(seen).map(({ text }) => text);
    try {
      machine.addFile(`/lib/modules/${name}.ko`, bytes);
      const task = machine.insmod(`/lib/modules/${name}.ko`);
      const deadline = performance.now() + REAL_TIME_MS;
      const done = (): boolean => machine.exitStatus(task) !== undefined || performance.now() > deadline;
      machine.runUntil(done, PATIENCE_NS);
      const oops = oopsIn(logged());
      if (oops) return oops;
      const status = machine.exitStatus(task);
      if (status === 0) return { kind: 'runs' };
      if (status !== undefined)
        return { kind: 'refused', errno: status, said: logged().find((line) => line !== '') ?? '' };
      const [top = ''] = machine.stack(task);
      return { kind: 'waits', where: top.replace(/^\[<0>\] /, '').split('+')[0] };
    } catch (error) {
      return oopsIn(logged()) ?? { kind: 'ended', said: (error as Error).message.split('\n')[0] };
    }
  }
}
