// A run under way: it notes the points that it comes to, and does there what its plan says.
//
// Invariant: at a point nothing but the plan's next decision is done; what is noted changes nothing of the run.

import { lo32 } from '../guest/addr.ts';
import type { KernelEvent } from '../kernel/events.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Cpu } from '../machine/cpu/cpu.ts';
import type { Made } from '../machine/cpu/waiting_stores.ts';
import { FLAGS, LivepatchData } from '../machine/livepatch_data.ts';
import type { Machine } from '../machine/machine.ts';
import type { Action } from '../machine/schedule.ts';
import { Footprints } from './footprints.ts';
import { accesses, EVERYTHING, hostTouches, Order, READS_ALL, type States } from './order.ts';
import type { Decision, Plan } from './plan.ts';
import { CHANGES, type Points, SWITCHES, type Touched } from './points.ts';

/** A point that a run came to. */
export interface Visit {
  /** Instructions executed before. */
  readonly at: number;
  readonly cpu: number;
  readonly pid: number;
  /** `function+0xoffset`, or a host function's name. */
  readonly point: string;
  /** How many of the host function's stores may wait there. */
  readonly stores: number;
}

export interface SteerOptions {
  /** Only points with this, or one of these that commas are between, in their name are come to. */
  readonly at?: string;
  /** What other runs have come to: who comes there goes no further. */
  readonly states?: States;
  /** Whether nothing but what the machine does by itself happens up to a time, virtual ns. */
  readonly restsUntil?: (time: number) => boolean;
  /** Told of each event, and of each point that is come to. */
  readonly tell?: {
    event(event: KernelEvent): void;
    /** @param t virtual ns */
    visit(visit: Visit, comm: string, t: number): void;
    action(action: Action, t: number): void;
  };
}

/** Ends a run from which nothing more is to be learnt. */
class Pointless extends Error {
  override readonly name = 'Pointless';
  readonly code = 'EPOINTLESS';
}

/** Ends a run that goes on as another did. */
class Known extends Error {
  override readonly name = 'Known';
  readonly code = 'EKNOWN';
}

/** An engine that observes nothing cannot be explored. */
export class ExploreError extends Error {
  readonly code = 'EEXPLORE';
  constructor(message: string) {
    super(message);
    this.name = 'ExploreError';
  }
}

export function observerOf(machine: Machine) {
  const { observer } = machine.inspect.executor;
  if (!observer)
    throw new ExploreError('exploring takes the processor of our own: this engine observes nothing');
  return observer;
}

interface Came {
  readonly point: string;
  /** Of an instruction, which is to be executed. */
  readonly pc?: bigint;
  readonly touched: Touched;
}

export class SteeredRun {
  readonly machine: Machine;
  readonly visits: Visit[] = [];
  readonly actions: Action[] = [];
  readonly footprints: Footprints;
  /** Points at which a CPU that stood still would do so in vain: nobody else has anything to do. */
  readonly alone: number[] = [];
  readonly #restsUntil: SteerOptions['restsUntil'];
  readonly #order = new Order();
  readonly #states: States | undefined;
  readonly #data: LivepatchData;
  /** Patches, functions or tasks have come or gone. */
  #isOld = true;
  /** What has been changed since a host function was last over. */
  #changed: Record<string, 'read' | 'write'> = {};
  readonly #points: Points;
  readonly #plan: Plan;
  readonly #tell: SteerOptions['tell'];
  readonly #at: readonly string[];
  readonly #names = new Map<bigint, string>();
  /** Points that read flags, and touch nothing else. */
  readonly #flagsOnly = new Set<string>();
  /** What each CPU has come to and has not been asked about. */
  readonly #came: (Came | undefined)[] = [];
  /** And what it does when it goes on. */
  readonly #does: ((() => void) | undefined)[] = [];
  /** The host function that a task asks in whether others are so far, and does so again. */
  readonly #asks = new Map<TaskStruct, string>();
  #next = 0;
  /** Where a CPU began to stand still. */
  #held: { readonly cpu: Cpu; readonly at: number } | undefined;

  constructor(
    machine: Machine,
    points: Points,
    plan: Plan,
    { tell, at = '', states, restsUntil }: SteerOptions,
  ) {
    this.machine = machine;
    this.#points = points;
    this.#plan = plan;
    this.#tell = tell;
    this.#at = at.split(',');
    this.#states = states;
    this.#restsUntil = restsUntil;
    machine.events.subscribe(({ type }) => {
      this.#changed[type] = 'write';
      this.#isOld = true;
    }, CHANGES);
    this.#data = new LivepatchData(machine.inspect.core, machine.inspect.livepatch);
    machine.inspect.steering.stores.onMade = (cpu, stores) => this.#stored(cpu, stores);
    this.footprints = new Footprints(machine, points.text);
    const { executor, host, core } = machine.inspect;
    this.#breakpoints();
    core.events.subscribe(() => this.#breakpoints(), ['ftrace']);
    executor.onObserved = (cpu) => {
      cpu.sliceOver = false;
      const { pc } = cpu;
      this.#came[cpu.id] = { point: this.#nameOf(pc), pc, touched: this.#touchedAt(cpu, pc) };
    };
    host.onServed = (cpu, name) => this.#served(cpu, name);
    machine.inspect.steering.onAct = (action) =>
      tell?.action(action, machine.inspect.smp.cpus[action.cpu].clock);
    executor.steersAlways = true;
    const base = executor.onSteer;
    executor.onSteer = (cpu) => base(cpu) || this.#steer(cpu);
  }

  /** A part of a host function is over. */
  #served(cpu: Cpu, name: string): void {
    const { core, host } = this.machine.inspect;
    const task = core.current(cpu.id);
    const changed = this.#changed;
    this.#changed = {};
    const known = this.#points.host.get(name);
    const touched = known ? hostTouches(known, changed) : { ...READS_ALL, ...changed };
    const switches = name === SWITCHES;
    this.footprints.served(switches || host.polls || accesses(known ? touched : changed));
    // It has not done so before; or might as well have stood still when it asked for the first time.
    if (!known || this.#asksAgain(task, name, host.polls)) {
      if (accesses(changed)) this.#order.add(`${task}`, name, touched);
    } else if (accesses(touched) || (switches && this.#switches(cpu, task)))
      this.#came[cpu.id] = { point: name, touched };
  }

  /** Whether the CPU is given to another one, which has something to do. */
  #switches({ id }: Cpu, task: TaskStruct): boolean {
    const next = this.machine.inspect.core.tasks.curr[id];
    return next !== task && !next.isIdle;
  }

  /** Whether a task asks what it has asked before, or sleeps until it does. */
  #asksAgain(task: TaskStruct, name: string, polls: boolean): boolean {
    const asks = this.#asks.get(task);
    if (name === SWITCHES) return asks !== undefined;
    if (polls) this.#asks.set(task, name);
    else if (asks === name) this.#asks.delete(task);
    return polls && asks === name;
  }

  #stored(cpu: Cpu, stores: readonly Made[]): void {
    if (stores.length === 0) return;
    if (this.#isOld) this.#data.renew();
    this.#isOld = false;
    for (const store of stores) {
      const object = this.#data.objectOf(store.addr);
      if (object === undefined) continue;
      const name = this.#data.nameOf(store.addr) as string;
      if (this.#data.isChanged(store.addr, store.before)) {
        this.#changed[object] = 'write';
        this.footprints.stored(cpu, name);
      } else if (name !== FLAGS) this.#changed[object] ??= 'read';
    }
  }

  /** Of what a task has its own is meant. */
  #touchedAt(cpu: Cpu, pc: bigint): Touched {
    const touched = this.#points.text.get(pc);
    if (!touched) return {};
    const { core } = this.machine.inspect;
    const { thread_info_flags, patch_state } = core.kernel.structs.task_struct.fields;
    const task = core.current(cpu.id);
    const own: Record<string, number> = { [FLAGS]: thread_info_flags, patch_state };
    return Object.fromEntries(
      Object.entries(touched).map(([name, how]) => [
        name in own ? `${name} ${lo32(task.addr + BigInt(own[name]))}` : name,
        how,
      ]),
    );
  }

  #breakpoints(): void {
    const { ftrace } = this.machine.inspect;
    const { text, trampoline } = this.#points;
    const copies = ftrace.trampolines
      .list()
      .flatMap(({ start }) => [...trampoline].map((offset) => start + BigInt(offset)));
    observerOf(this.machine).breakAt([...text.keys(), ...copies]);
  }

  #nameOf(pc: bigint): string {
    let name = this.#names.get(pc);
    if (name === undefined) {
      const { core, ftrace } = this.machine.inspect;
      const trampoline = ftrace.trampolines.at(pc);
      name = trampoline
        ? `ftrace_trampoline+0x${(pc - trampoline.start).toString(16)}`
        : core.sym(pc).replace(/\/0x[0-9a-f]+/, '');
      this.#names.set(pc, name);
      const touched = this.#points.text.get(pc);
      if (touched && Object.entries(touched).every(([what, how]) => what === FLAGS && how === 'read'))
        this.#flagsOnly.add(name);
    }
    return name;
  }

  #steer(cpu: Cpu): boolean {
    const at = this.machine.inspect.executor.instructions;
    if (this.#held) {
      // Nobody else had anything to do: as if it had not stood still.
      if (this.#held.cpu === cpu && this.#held.at === at) throw new Pointless();
      this.#held = undefined;
    }
    this.footprints.steps(cpu);
    this.#does[cpu.id]?.();
    this.#does[cpu.id] = undefined;
    const came = this.#came[cpu.id];
    if (!came) return false;
    this.#came[cpu.id] = undefined;
    const acted = this.#comes(cpu, came, at);
    if (came.pc !== undefined) this.footprints.touches(cpu, came.pc);
    return acted;
  }

  #comes(cpu: Cpu, came: Came, at: number): boolean {
    const { point, touched } = came;
    const task = this.machine.inspect.core.current(cpu.id);
    // An idle task that looks whether there is anything to do.
    if (task.isIdle && !point.includes('klp_')) return false;
    // Who looks at flags finds nothing of livepatch there outside of a transition.
    if (this.#flagsOnly.has(point) && !this.machine.inspect.livepatch.transitionPatch) return false;
    // Until it asks again, only that a task looks at its flags is seen of it.
    if (this.#flagsOnly.has(point) && this.#asks.has(task)) return false;
    // Who is not asked to look at it does it all the same: runs that differ in it alone are two.
    if (!this.#at.some((part) => point.includes(part))) {
      this.#happens(cpu, task, came);
      return false;
    }
    const index = this.visits.length;
    const stores = this.machine.inspect.steering.stores.waiting(cpu);
    const visit = { at, cpu: cpu.id, pid: task.pid, point, stores };
    this.visits.push(visit);
    this.footprints.comes(cpu, task);
    const { until, isInVain } = this.machine.inspect.steering.standing(cpu);
    if (isInVain && this.#restsUntil?.(until)) this.alone.push(index);
    // Where nothing is accessed it has come no further.
    if (accesses(touched)) this.#leaveWhereKnown();
    this.#happens(cpu, task, came);
    this.#tell?.visit(visit, task.comm, cpu.clock);
    const decision = this.#plan.decisions[this.#next];
    if (decision?.visit !== index) return false;
    this.#next++;
    return this.#act(cpu, decision, at, stores);
  }

  /** A host function has done it, an instruction is about to. */
  #happens(cpu: Cpu, task: TaskStruct, { point, pc, touched }: Came): void {
    const happens = (): void => {
      if (accesses(touched)) this.#order.add(`${task}`, point, touched);
    };
    if (pc === undefined) happens();
    else this.#does[cpu.id] = happens;
  }

  /** Where nothing more is done to it, and what was done is over. */
  #leaveWhereKnown(): void {
    const { smp, sched } = this.machine.inspect;
    const { decisions } = this.#plan;
    if (!this.#states || this.#next < decisions.length || smp.holds || sched.holds) return;
    const state = this.#order.stateAt(this.#places());
    if (this.#states.has(state, decisions.length)) throw new Known();
    this.#states.add(state, decisions.length);
  }

  /** Where each task is that executes nothing now, as a check of its stack sees it. */
  #places(): number[] {
    const { tasks } = this.machine.inspect.core;
    return [...tasks.processes()].flatMap((task) =>
      task.onCpu !== 0 ? [task.pid, task.cpu, -1, 0] : [task.pid, task.cpu, task.state, task.spLo],
    );
  }

  #act(cpu: Cpu, { kind, stores = 0 }: Decision, at: number, waiting: number): boolean {
    const action: Action =
      kind !== 'w'
        ? { kind, cpu: cpu.id, at }
        : waiting === 0
          ? { kind: 'h', cpu: cpu.id, at }
          : { kind, cpu: cpu.id, at, stores: stores % waiting };
    this.actions.push(action);
    this.#tell?.action(action, cpu.clock);
    if (action.kind === 'p') this.footprints.preempts(this.machine.inspect.core.current(cpu.id));
    else this.footprints.stands(cpu);
    if (action.kind === 'w') this.#order.add(`CPU ${cpu.id}`, `${action.stores} stores`, EVERYTHING);
    this.machine.inspect.steering.act(cpu, action);
    if (action.kind !== 'p') this.#held = { cpu, at };
    return true;
  }
}
