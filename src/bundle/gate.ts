// Who may pass the gate between transitions and loads. The waiting is guest code: asm/x86_64/bundle.s.
// It has no counterpart in the kernel.
//
// Invariant: a transition never holds it together with a load of another task. A load inside a load, or inside the
// start of a transition, belongs to what is under way and does not wait.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator, HostResult } from '../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Awaits } from './awaits.ts';

/** What klp_gate_lock() is asked for; bits. */
export const GATE = { load: 0, transition: 1, nonblock: 2, noRestart: 4 } as const;

const { EBUSY, EDEADLK, EINTR, ERESTARTSYS } = UAPI;

/** A count of struct klp_gate. */
type GateCount = keyof KernelCore['kernel']['structs']['klp_gate']['fields'];

export interface GateWait {
  readonly task: TaskStruct;
  readonly how: number;
  /** Virtual ns at which it arrived. */
  readonly since: number;
}

export class Gate {
  readonly #core: KernelCore;
  readonly #stack: (task: TaskStruct) => string[];
  readonly #waitedFor: (task: TaskStruct, call: HostCall) => string | undefined;
  readonly #transition: () => string;
  readonly #awaits: Awaits;
  /** Loads and unloads under way, and how deep they are nested. */
  readonly #loads = new Map<TaskStruct, number>();
  readonly #waits = new Map<TaskStruct, GateWait>();
  /** Waits that cannot be restarted and were found to be for ever. */
  readonly #dead = new Set<TaskStruct>();
  /** Who starts the transition that holds the gate, and its stack then; the task only until it has started. */
  #owner: TaskStruct | undefined;
  #ownerText: string[] = [];

  /**
   * @param stack lines of /proc/PID/stack.
   * @param waitedFor the function on the task's stack that the transition under way waits for.
   * @param transition the transition under way, for messages.
   * @param awaits who waits for whom
   */
  constructor(
    core: KernelCore,
    stack: (task: TaskStruct) => string[],
    waitedFor: (task: TaskStruct, call: HostCall) => string | undefined,
    transition: () => string,
    awaits: Awaits,
  ) {
    this.#core = core;
    this.#stack = stack;
    this.#waitedFor = waitedFor;
    this.#transition = transition;
    this.#awaits = awaits;
  }

  get held(): boolean {
    return this.#count('transition') > 0;
  }

  get waits(): readonly GateWait[] {
    return [...this.#waits.values()];
  }

  /** What a task waits for; undefined for one that does not wait here. */
  why(task: TaskStruct): string | undefined {
    const wait = this.#waits.get(task);
    return wait && `waits on the gate for ${this.blocker(wait.how)}`;
  }

  /** Tasks whose loads or unloads are under way. */
  get loading(): readonly TaskStruct[] {
    return [...this.#loads.keys()];
  }

  /** What somebody who asks for the gate like that waits for now. */
  blocker(how: number): string {
    if (this.held) return `the transition of '${this.#transition()}'`;
    if ((how & GATE.transition) === 0) return 'a transition that waits for loads under way';
    return `loads under way: ${[...this.#loads.keys()].join(', ')}`;
  }

  /** Waits for it. @returns 0 or -errno; -ERESTARTSYS when a signal came first. */
  *lock(how: number): HostGenerator<number> {
    const got = yield { call: this.#core.symbols.require('klp_gate_lock'), args: [how] };
    const result = Number(BigInt.asIntN(64, got));
    return result > 0 ? 0 : result;
  }

  /** The caller has started its transition, which holds the gate from now on. */
  started(): void {
    this.#owner = undefined;
  }

  *unlockTransition(): HostGenerator<void> {
    this.#owner = undefined;
    if (!this.held) return;
    this.#setCount('transition', 0);
    yield* this.#wake();
  }

  *unlockLoad(task: TaskStruct): HostGenerator<void> {
    const depth = (this.#loads.get(task) ?? 0) - 1;
    if (depth > 0) this.#loads.set(task, depth);
    else this.#loads.delete(task);
    this.#setCount('loads', this.#loads.size);
    if (depth <= 0) yield* this.#wake();
  }

  /** A task dies, perhaps in a load: who waited for that goes on. */
  *forget(task: TaskStruct): HostGenerator<void> {
    const waited = this.#waits.delete(task);
    this.#dead.delete(task);
    if (!this.#loads.delete(task)) {
      if (waited) yield* this.#wake();
      return;
    }
    this.#core.printk.err(`livepatch: ${task} died while it loaded or unloaded a module`);
    this.#setCount('loads', this.#loads.size);
    yield* this.#wake();
  }

  /** Tasks that wait without a way back, now that a transition has begun. */
  *checkWaits(call: HostCall): HostGenerator<void> {
    for (const { task, how } of this.waits)
      if (!this.#dead.has(task) && this.#deadlocked(task, how, call)) this.#dead.add(task);
    if (this.#dead.size > 0) yield* this.#wake();
  }

  *#wake(): HostGenerator<void> {
    if (this.#waits.size > 0) yield { call: this.#core.symbols.require('klp_gate_wake') };
  }

  /** klp_gate_try(how, interrupted): 1 it is the caller's, 0 it is to sleep, else -errno. */
  try(call: HostCall): HostResult | HostGenerator {
    const task = this.#core.currentOf(call);
    const waited = this.#waits.get(task);
    const result = this.#try(task, call);
    // Loads that were behind it in the queue may have woken before it, and gone back to sleep.
    const isNext = waited !== undefined && !this.#waits.has(task) && this.#waits.size > 0;
    return isNext ? this.#wakeThen(result) : result;
  }

  *#wakeThen(result: bigint | number): HostGenerator<bigint | number> {
    yield* this.#wake();
    return result;
  }

  #try(task: TaskStruct, call: HostCall): bigint | number {
    const how = Number(call.args[0]);
    const fault = this.#core.faults.check('klp_gate_lock', how & GATE.transition ? 'a transition' : 'a load');
    if (fault) return this.#leave(task, how, fault);
    if (this.#take(task, how)) return this.#leave(task, how, 1);
    const errno = this.#refusal(task, how, call.args[1] !== 0n, call);
    if (errno !== 0) return this.#leave(task, how, -errno);
    if (!this.#waits.has(task)) this.#waits.set(task, { task, how, since: this.#core.clock.now() });
    return 0;
  }

  #take(task: TaskStruct, how: number): boolean {
    const mine = this.#loads.get(task) ?? 0;
    if (how & GATE.transition) {
      if (this.held || this.#loads.size > (mine > 0 ? 1 : 0)) return false;
      this.#setCount('transition', 1);
      this.#owner = task;
      this.#ownerText = this.#stack(task);
      return true;
    }
    const mayPass = mine > 0 || task === this.#owner;
    if (!mayPass && (this.held || this.#transitionWaits() || this.#isBehind(task))) return false;
    this.#loads.set(task, mine + 1);
    this.#setCount('loads', this.#loads.size);
    return true;
  }

  /** Another load waits that came before: on several CPUs the later one may be woken first. */
  #isBehind(task: TaskStruct): boolean {
    const [first] = this.waits;
    return first !== undefined && first.task !== task;
  }

  #transitionWaits(): boolean {
    return this.waits.some((wait) => wait.how & GATE.transition);
  }

  /** Why the task does not wait, as a positive errno; 0: it does. */
  #refusal(task: TaskStruct, how: number, interrupted: boolean, call: HostCall): number {
    if (how & GATE.nonblock) return EBUSY;
    // One transition at a time, as ever; and of two loads that each want to become one, one must go.
    if (how & GATE.transition && (this.held || (this.#loads.has(task) && this.#transitionWaits()))) {
      if (!this.#waits.has(task)) return EBUSY;
    }
    if (this.#dead.delete(task) || this.#deadlocked(task, how, call)) return EDEADLK;
    if (!interrupted) return 0;
    return how & GATE.noRestart ? EINTR : ERESTARTSYS;
  }

  /** Such a wait ends when the transition does, which waits for this very task; or for a load that does. */
  #deadlocked(task: TaskStruct, how: number, call: HostCall): boolean {
    if (!(how & GATE.noRestart)) return false;
    if (!this.held) return this.#transitionWaits() && this.#loadWaitsFor(task);
    const found = this.#heldUp(task, call);
    if (!found) return false;
    const { printk } = this.#core;
    const name = this.#transition();
    const [first, ...others] = found.path;
    const it = first === task ? 'it' : `${first}`;
    printk.err(
      `livepatch: deadlock: ${task} waits for the transition of '${name}', which waits for ${it} to leave ${found.func}${chain(others)}`,
    );
    this.#printStacks(first === task ? [task] : [task, ...found.path.slice(0, -1)]);
    printk.err(`livepatch: stack that began the transition of '${name}':`);
    for (const line of this.#ownerText) printk.err(`livepatch:  ${line}`);
    return true;
  }

  /** The task itself in a function that the transition waits for it to leave; or another, which waits for it. */
  #heldUp(
    task: TaskStruct,
    call: HostCall,
  ): { readonly func: string; readonly path: readonly TaskStruct[] } | undefined {
    const own = this.#waitedFor(task, call);
    if (own !== undefined) return { func: own, path: [task] };
    for (const other of this.#core.tasks.processes()) {
      const path = other === task ? undefined : this.#awaits.path(other, task);
      const func = path && this.#waitedFor(other, call);
      if (path && func !== undefined) return { func, path };
    }
    return undefined;
  }

  #printStacks(tasks: readonly TaskStruct[]): void {
    const { printk } = this.#core;
    for (const one of tasks) {
      printk.err(`livepatch: stack of ${one}:`);
      for (const line of this.#stack(one)) printk.err(`livepatch:  ${line}`);
    }
  }

  /** A transition waits until that load is over, and whoever comes now waits for the transition. */
  #loadWaitsFor(task: TaskStruct): boolean {
    for (const load of this.loading) {
      const path = this.#awaits.path(load, task);
      if (!path) continue;
      this.#core.printk.err(
        `livepatch: deadlock: ${task} waits for a transition, which waits for the load of ${load}${chain(path.slice(1))}`,
      );
      this.#printStacks([task, ...path.slice(0, -1)]);
      return true;
    }
    return false;
  }

  #leave(task: TaskStruct, how: number, result: number): bigint | number {
    const wait = this.#waits.get(task);
    if (wait) {
      this.#waits.delete(task);
      const waitedNs = this.#core.clock.now() - wait.since;
      const what = how & GATE.transition ? 'transition' : 'load';
      this.#core.events.emit({ type: 'gate', pid: task.pid, comm: task.comm, what, waitedNs, result });
    }
    return result < 0 ? negErrno(-result) : result;
  }

  #at(which: GateCount): Addr {
    const { symbols, kernel } = this.#core;
    return symbols.require('klp_gate') + BigInt(kernel.structs.klp_gate.fields[which]);
  }
  #count(which: GateCount): number {
    return this.#core.mem.readU32(this.#at(which));
  }
  #setCount(which: GateCount, count: number): void {
    this.#core.mem.writeU32(this.#at(which), count);
  }
}

/** `, which waits for X, which waits for it`: the last of them is the task that is spoken of. */
function chain(tasks: readonly TaskStruct[]): string {
  return tasks.map((task, i) => `, which waits for ${i === tasks.length - 1 ? 'it' : task}`).join('');
}
