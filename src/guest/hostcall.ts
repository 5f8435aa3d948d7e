// Host calls: how guest code asks TypeScript for policy, without a native callback.
//
// A host function is a real guest function, a stub of a few instructions around the one that halts (the port's
// HostStubs), with a symbol, an fentry site and unwind data of its own. The halt ends the engine's run; the address
// behind it says which stub, and which of its three entries:
//
//   entered   the guest called it: run the TypeScript function
//   returned  a guest function that the TypeScript function asked for has returned
//   relaxed   one cpu_relax() went by, in which other CPUs may have run
//
// A host function that needs guest code to run (a callback, a lock, a sleep) is a generator: it yields
// { call, args } and gets its result back. The guest's own call instruction in the stub does the call, so a
// task that sleeps in there has a real frame of the host function on its stack.

import type { Addr } from './addr.ts';

export type HostRequest =
  /** polls: the host function only asks whether others are so far, and does so again. */
  | { readonly call: Addr; readonly args?: readonly (bigint | number)[]; readonly polls?: true }
  /**
   * polls: the same. waits: what was stored since the host function last went on may become visible to others one by one (exploring).
   */
  | { readonly relax: true; readonly polls?: true; readonly waits?: true };

/** What the caller gets; nothing is 0. */
export type HostResult = bigint | number | boolean | undefined | void;

export type HostGenerator<T = HostResult> = Generator<HostRequest, T, bigint>;

/** One call of a host function. */
export interface HostCall {
  /** CPU on which the caller is executing now; may differ after a yield. */
  cpu: number;
  /** The arguments that are passed in registers. */
  readonly args: readonly bigint[];
  /** The stack pointer at the function's entry. */
  readonly sp: Addr;
  /** Return address of the call. */
  readonly caller: Addr;
}

export type HostFunction = (call: HostCall) => HostResult | HostGenerator;

/** What host functions keep beside the guest's memory, where a kernel's own boot changes it (machine/native/kept_boot.ts). */
export interface HostState<T = unknown> {
  /** As plain data; undefined where something is under way that is none. */
  keep(): T | undefined;
  /** Of a machine that is as it was before the boot that this was kept of. */
  restore(kept: T): void;
}

/** The table from names of host functions to their TypeScript parts. */
export class HostFunctions {
  readonly #functions = new Map<string, HostFunction>();
  readonly #offered = new Map<string, HostFunction>();
  readonly #states = new Map<string, HostState>();

  /** @throws Error when the name is taken: two parts of the kernel claim one function. */
  define(name: string, fn: HostFunction): void {
    if (this.#functions.has(name)) throw new Error(`host function ${name} is defined twice`);
    this.#functions.set(name, fn);
  }

  /** Several at once, by name. */
  defineAll(functions: Readonly<Record<string, HostFunction>>): void {
    for (const [name, fn] of Object.entries(functions)) this.define(name, fn);
  }

  /** Of functions that not every kernel has: those for which the image has a stub. */
  offerAll(functions: Readonly<Record<string, HostFunction>>): void {
    for (const [name, fn] of Object.entries(functions)) this.#offered.set(name, fn);
  }

  get(name: string): HostFunction | undefined {
    return this.#functions.get(name) ?? this.#offered.get(name);
  }

  /** @param name whose state it is */
  keeps<T>(name: string, state: HostState<T>): void {
    this.#states.set(name, state as HostState);
  }

  get states(): ReadonlyMap<string, HostState> {
    return this.#states;
  }

  /** Those that must have a stub. */
  names(): IterableIterator<string> {
    return this.#functions.keys();
  }
}
