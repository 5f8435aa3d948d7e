// Stores of livepatch's host functions that others come to see one by one, as x86 lets the stores of a CPU wait in its buffer.
//
// A host function is executed at once, from one yield to the next. Where it pauses behind stores that others read without a
// lock (KlpContext.stored), those behind the first few are taken back, and made again, in their order, when its CPU goes on:
// what the others do meanwhile, they do while these stores wait. Of a word of TIF_ flags, which locked operations change, it is
// the bits that were changed.
//
// Invariant: nothing waits while a task comes or goes: who walks the tasks holds tasklist_lock. While it is not asked for,
// it notes nothing.

import type { KernelCore } from '../../kernel/core.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { Fork } from '../../sched/fork.ts';
import { FLAGS, LivepatchData } from '../livepatch_data.ts';
import type { Cpu } from './cpu.ts';
import type { HostCallDispatch } from './hostcall_dispatch.ts';

/** A store of a host function. */
export interface Made {
  readonly addr: bigint;
  /** In the buffer of guest memory. */
  readonly offset: number;
  readonly before: Uint8Array;
}

interface Store extends Made {
  after: Uint8Array;
  /** Whose data it is, by the kernel's name. */
  name: string;
}

export class WaitingStores {
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  readonly #host: HostCallDispatch;
  readonly #fork: Fork;
  #data: LivepatchData | undefined;
  /** Of the part that is executed now, or was last. */
  #made: Store[] = [];
  /** The CPU that made them, where they may wait. */
  #of: Cpu | undefined;
  #hidden: readonly Store[] = [];
  /** Told of a CPU that only asks whether others are so far. */
  onPolls: ((cpu: Cpu) => void) | undefined;
  /** Told where each part of a host function has stored something, while that is watched. */
  onMade: ((cpu: Cpu, stores: readonly Made[]) => void) | undefined;

  constructor(core: KernelCore, livepatch: Livepatch, host: HostCallDispatch, fork: Fork) {
    this.#core = core;
    this.#livepatch = livepatch;
    this.#host = host;
    this.#fork = fork;
  }

  /** From now on, or no more. */
  watch(on: boolean): void {
    this.#livepatch.context.pauses = on;
    this.show();
    this.#core.mem.onStore = undefined;
    this.#host.stores = on
      ? { begin: () => this.#begin(), end: (cpu, waits) => this.#end(cpu, waits) }
      : undefined;
    if (on && !this.#data) this.#showBeforeTasksChange();
    this.#data ??= on ? new LivepatchData(this.#core, this.#livepatch) : undefined;
  }

  #showBeforeTasksChange(): void {
    this.#fork.onFork.unshift(() => this.show());
    const { tasks } = this.#core;
    const unlink = tasks.unlink.bind(tasks);
    tasks.unlink = (task) => {
      this.show();
      unlink(task);
    };
  }

  #begin(): void {
    this.#made = [];
    this.#of = undefined;
    this.#core.mem.onStore = this.#onStore;
  }

  readonly #onStore = (addr: bigint, offset: number, size: number): void => {
    const before = this.#core.mem.u8.slice(offset, offset + size);
    this.#made.push({ addr, offset, before, after: before, name: '' });
  };

  /** What each has left there: all are taken back, the last first, and made again. */
  #noteAfter(): void {
    const { u8 } = this.#core.mem;
    for (const store of this.#made.toReversed()) {
      store.after = u8.slice(store.offset, store.offset + store.before.length);
      u8.set(store.before, store.offset);
    }
    for (const { offset, after } of this.#made) u8.set(after, offset);
  }

  /** A part of a host function is over. */
  #end(cpu: Cpu, waits: boolean): void {
    this.#core.mem.onStore = undefined;
    this.onMade?.(cpu, this.#made);
    if (this.#host.spins) this.onPolls?.(cpu);
    const data = this.#data;
    if (!waits || !data) {
      this.#made = [];
      return;
    }
    this.#noteAfter();
    data.renew();
    this.#made = this.#made.filter((store) => {
      store.name = data.nameOf(store.addr) ?? '';
      return store.name !== '' && !store.after.every((byte, i) => byte === store.before[i]);
    });
    this.#of = cpu;
  }

  /** How many may wait of what the CPU's host function has stored last. */
  waiting(cpu: Cpu): number {
    return this.#of === cpu ? this.#made.length : 0;
  }

  /** Others see the first `visible` stores of what the CPU's host function has made, until the CPU goes on. @returns whether there are more than that */
  hide(cpu: Cpu, visible: number): boolean {
    if (this.#of !== cpu || visible >= this.#made.length) return false;
    this.show();
    this.#hidden = this.#made.slice(visible);
    for (const store of [...this.#hidden].reverse()) this.#write(store, store.after, store.before);
    cpu.beforeGoingOn = () => {
      cpu.beforeGoingOn = undefined;
      this.show();
    };
    return true;
  }

  /** Nothing waits any more. */
  show(): void {
    const hidden = this.#hidden;
    this.#hidden = [];
    for (const store of hidden) this.#write(store, store.before, store.after);
  }

  #write({ offset, name }: Store, from: Uint8Array, to: Uint8Array): void {
    const { u8 } = this.#core.mem;
    to.forEach((byte, i) => {
      const changed = from[i] ^ byte;
      u8[offset + i] = name === FLAGS ? (u8[offset + i] & ~changed) | (byte & changed) : byte;
    });
  }
}
