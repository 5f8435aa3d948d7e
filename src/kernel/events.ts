// Everything that happens in a machine, as one ordered log. dmesg, reports, traces and replays are
// made from it; it is the only thing that flows out of the machine.

import type { Addr } from '../guest/addr.ts';

/** How a task came to its patch_state. */
export type SwitchWay =
  | 'stack check'
  | 'cond_resched'
  | 'freezable sleep'
  | 'kernel exit'
  | 'idle loop'
  | 'fork'
  | 'force';

export type EventBody =
  | { type: 'printk'; level: number; text: string }
  | { type: 'task'; what: 'new' | 'exit'; pid: number; comm: string; parent?: number; code?: number }
  | { type: 'sched'; prev: string; next: string; preempted: boolean }
  | { type: 'wakeup'; pid: number; comm: string; cpu: number }
  | { type: 'module'; name: string; state: 'COMING' | 'LIVE' | 'GOING' | 'UNFORMED' | 'freed' }
  | {
      type: 'poke';
      addr: Addr;
      where: string;
      step: 'int3' | 'tail' | 'first byte' | 'whole';
      before: Uint8Array;
      after: Uint8Array;
    }
  | { type: 'int3'; addr: Addr; where: string; emulated: string }
  | {
      type: 'ftrace';
      what: 'register' | 'unregister';
      where: string;
      ip: Addr;
      trampoline: Addr;
      before: Uint8Array;
      after: Uint8Array;
    }
  | { type: 'transition'; patch: string; what: string; target: number }
  | { type: 'blocked'; pid: number; comm: string; why: string; func?: string; stack: string[] }
  | {
      type: 'patch_state';
      pid: number;
      comm: string;
      from: number;
      to: number;
      way: SwitchWay;
      sinceNs: number;
    }
  | { type: 'call'; pid: number; comm: string; func: string; version: string; patchState: number }
  | { type: 'gap'; pid: number; comm: string; func: string; version: string; patchState: number }
  | { type: 'fault'; pid: number; comm: string; what: string }
  | {
      type: 'hole';
      pid: number;
      comm: string;
      func: string;
      version: string;
      patch: string;
      /** The patch whose transition was forced over the task. */
      forced?: string;
      /** The part of the version that the task stands in. */
      part?: string;
    }
  | { type: 'gate'; pid: number; comm: string; what: 'load' | 'transition'; waitedNs: number; result: number }
  | { type: 'oops'; pid: number; comm: string; text: string }
  | { type: 'leak'; module: string; objects: readonly { addr: Addr; size: number; caller: string }[] }
  /** What klpemu says beside the kernel's words: why, and what to do. */
  | { type: 'note'; text: string }
  /** A module comes or goes as the livepatch core sees it; what one of its patches does with the module then. */
  | { type: 'klp_module'; what: 'coming' | 'going'; module: string }
  | { type: 'klp_object'; what: 'apply' | 'revert'; patch: string; object: string }
  /** Livepatch relocations of a patch module that had to wait for an object, resolved or taken back. */
  | { type: 'klp_relocs'; what: 'apply' | 'clear'; patch: string; object: string; count: number };

/** One thing that happened: when (virtual ns since boot), on which CPU, and what. */
export type KernelEvent = EventBody & { readonly t: number; readonly cpu: number };

export type EventType = EventBody['type'];

/**
 * Kinds for measurements: only a sink that names them sees them, and a trace has none of them. What they tell is in a
 * trace as other events, in other words.
 */
const ASIDE: ReadonlySet<EventType> = new Set(['klp_module', 'klp_object', 'klp_relocs']);
export type EventSink = (event: KernelEvent) => void;

/** The ordered log: sinks see each event once, in order, as it happens. */
export class EventLog {
  readonly #subscriptions = new Set<Subscription>();
  readonly #now: () => { t: number; cpu: number };
  /** Who wants a type, in the order of the subscriptions: found when it is first asked for. */
  readonly #wanting = new Map<EventType, readonly Subscription[]>();

  /** @param now virtual time and CPU at the moment of emission. */
  constructor(now: () => { t: number; cpu: number }) {
    this.#now = now;
  }

  /** Does anybody want events of this type? For callers whose event costs something to make. */
  listens(type: EventType): boolean {
    return this.#wantedBy(type).length > 0;
  }

  emit(body: EventBody): void {
    const subscriptions = this.#wantedBy(body.type);
    if (subscriptions.length === 0) return;
    const { t, cpu } = this.#now();
    const event = { t, cpu, ...body };
    // One that a sink before it has taken out sees it no more.
    for (const each of subscriptions) if (this.#subscriptions.has(each)) each.sink(event);
  }

  /**
   * @param types the sink sees only these; without them, everything but the kinds for measurements.
   * @returns a function that takes the sink out again.
   */
  subscribe(sink: EventSink, types?: readonly EventType[]): () => void {
    const subscription = { sink, types };
    this.#subscriptions.add(subscription);
    this.#wanting.clear();
    return () => {
      this.#subscriptions.delete(subscription);
      this.#wanting.clear();
    };
  }

  #wantedBy(type: EventType): readonly Subscription[] {
    let wanting = this.#wanting.get(type);
    if (!wanting) {
      wanting = [...this.#subscriptions].filter(({ types }) => types?.includes(type) ?? !ASIDE.has(type));
      this.#wanting.set(type, wanting);
    }
    return wanting;
  }
}

interface Subscription {
  readonly sink: EventSink;
  readonly types: readonly EventType[] | undefined;
}
