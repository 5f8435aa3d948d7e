// struct workqueue_struct (kernel/workqueue.c): those of the system, and those that native code allocates.
//
// Invariant: what is no workqueue that is there is taken for system_wq.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { holds } from '../kernel/release.ts';
import { QUEUES } from './since.ts';

/** struct workqueue_struct */
export interface Queue {
  readonly name: string;
  /** How many of its items may run at once. */
  maxActive: number;
  active: number;
}

/** __WQ_ORDERED and WQ_UNBOUND of include/linux/workqueue.h; WQ_DFL_ACTIVE. */
const [WQ_ORDERED, WQ_UNBOUND] = [1 << 17, 1 << 1];
const WQ_DFL_ACTIVE = 256;
/** WQ_NAME_LEN, with the NUL at the end. */
const [NAME_LEN, LONG_NAME_LEN] = [24, 32];
/** As much of one as anybody could look at: nothing is in it. */
const WQ_SIZE = 512;
/** Workqueues of the image: the variable that points to one, and its name. */
const SYSTEM_QUEUES: Readonly<Record<string, string>> = {
  system_wq: 'events',
  system_long_wq: 'events_long',
  system_unbound_wq: 'events_unbound',
};
/** Those that a real kernel has besides, as far as it has them. */
const MORE_QUEUES: Readonly<Record<string, string>> = {
  system_highpri_wq: 'events_highpri',
  system_freezable_wq: 'events_freezable',
  system_power_efficient_wq: 'events_power_efficient',
  system_freezable_power_efficient_wq: 'events_freezable_pwr_efficient',
  system_percpu_wq: 'events',
  system_dfl_wq: 'events_unbound',
  system_bh_wq: 'events_bh',
  system_bh_highpri_wq: 'events_bh_highpri',
  system_dfl_long_wq: 'events_dfl_long',
};
/** What was called otherwise before names could be long. */
const BEFORE_LONG_NAMES: Readonly<Record<string, string>> = {
  system_freezable_power_efficient_wq: 'events_freezable_power_efficient',
};

const makeQueue = (name: string, maxActive = WQ_DFL_ACTIVE): Queue => ({ name, maxActive, active: 0 });

export class WorkqueueStructs {
  readonly #core: KernelCore;
  readonly #at = new Map<Addr, Queue>();
  readonly system: Queue = makeQueue(SYSTEM_QUEUES.system_wq);

  readonly #longNames: boolean;
  /** pr_warn_once() */
  #warnedOfCut = false;

  constructor(core: KernelCore) {
    this.#core = core;
    this.#longNames = holds(core.kernel, QUEUES.longNames);
  }

  /** Points the system queues at something that is not NULL. */
  start(): void {
    for (const [name, wqName] of Object.entries(SYSTEM_QUEUES)) {
      const wq = this.#core.slab.alloc(64, 'workqueue_struct');
      this.#core.mem.writeU64(this.#core.symbols.require(name), wq);
      this.#at.set(wq, name === 'system_wq' ? this.system : makeQueue(wqName));
    }
  }

  startReal(): void {
    const names = this.#longNames ? MORE_QUEUES : { ...MORE_QUEUES, ...BEFORE_LONG_NAMES };
    for (const [name, wqName] of Object.entries(names)) {
      const pointer = this.#core.symbols.lookupName(name);
      if (pointer !== undefined) this.#core.mem.writeU64(pointer, this.alloc(wqName, 0, 0));
    }
  }

  keep(): [Addr, Queue][] {
    return [...this.#at];
  }
  restore(kept: readonly [Addr, Queue][]): void {
    const before = new Map(this.#at);
    this.#at.clear();
    for (const [wq, queue] of kept) this.#at.set(wq, Object.assign(before.get(wq) ?? {}, queue));
  }

  at(wq: Addr): Queue {
    return this.#at.get(wq) ?? this.system;
  }

  /** alloc_workqueue(). @param maxActive 0: as many as is usual @returns 0n without memory */
  alloc(name: string, flags: number, maxActive: number): Addr {
    const most = maxActive || WQ_DFL_ACTIVE;
    const isOrdered = (flags & WQ_ORDERED) !== 0 || ((flags & WQ_UNBOUND) !== 0 && most === 1);
    return this.#make(makeQueue(this.#cut(name), isOrdered ? 1 : most));
  }

  #cut(name: string): string {
    const text = name.slice(0, (this.#longNames ? LONG_NAME_LEN : NAME_LEN) - 1);
    if (text !== name && this.#longNames && !this.#warnedOfCut) {
      this.#warnedOfCut = true;
      this.#core.printk.warn(`workqueue: name exceeds WQ_NAME_LEN. Truncating to: ${text}`);
    }
    return text;
  }

  setMaxActive(wq: Addr, maxActive: number): void {
    const queue = this.#at.get(wq);
    if (queue) queue.maxActive = maxActive || WQ_DFL_ACTIVE;
  }

  free(wq: Addr): void {
    this.#at.delete(wq);
    this.#core.slab.free(wq);
  }

  #make(queue: Queue): Addr {
    const wq = this.#core.slab.tryAlloc(WQ_SIZE, 'workqueue_struct');
    if (wq !== 0n) this.#at.set(wq, queue);
    return wq;
  }
}
