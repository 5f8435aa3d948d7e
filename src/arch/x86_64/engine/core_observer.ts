// The observer of the core: says to the translator and to core/observe.ts what is wanted, and makes of what they leave in
// linear memory what the CPU port has of it.
//
// Invariant: a run without observation does not come here (CoreEngine.run).

import type { Addr } from '../../../guest/addr.ts';
import { type CpuContext, EngineError, type Stop, type StopKind } from '../../../guest/engine.ts';
import type { Hit, Observer, Traced, TraceEvent, WatchedRange } from '../../../guest/observer.ts';
import { REG } from '../context.ts';
import { WRITE } from '../core/kinds.ts';
import * as L from '../core/layout.ts';
import type { BlockCache } from './block_cache.ts';
import { BreakpointsMet } from './breakpoints_met.ts';
import type { CoreContext } from './core_context.ts';
import { HostWrites } from './host_writes.ts';
import { ObservedInstructions } from './translate/observed.ts';
import type { CoreExports } from './wasm.ts';

/** What the engine lends. */
interface Parts {
  readonly core: CoreExports;
  readonly view: DataView;
  readonly blocks: BlockCache;
}

/** Executes until `max` instructions are executed, of which some are already. */
type Execute = (max: number, oneBlock: 0 | 1, executed: number) => Stop;

/** Stops at which stores go on waiting: the CPU has done nothing but execute. */
const WAITING: ReadonlySet<StopKind> = new Set(['budget', 'breakpoint', 'watchpoint']);
const KINDS = { [L.EVENT_BLOCK]: 'block', [L.EVENT_CALL]: 'call', [L.EVENT_RETURN]: 'return' } as const;

export class CoreObserver implements Observer {
  readonly #core: CoreExports;
  readonly #view: DataView;
  readonly #blocks: BlockCache;
  readonly #hostWrites: HostWrites;
  /** Contexts by the number that they have in events. */
  readonly #contexts: CoreContext[] = [];
  readonly #queues = new Map<CoreContext, number>();
  readonly #met = new BreakpointsMet();
  #breakpoints: ReadonlySet<Addr> = new Set();
  #watches: readonly WatchedRange[] = [];
  #traced: ReadonlySet<Traced> = new Set();
  /** Instructions that are counted: their cells. */
  #counters: Map<Addr, number> | undefined;
  #areAllCounted = true;
  #holds = false;
  #hits: readonly Hit[] = [];

  constructor({ core, view, blocks }: Parts) {
    this.#core = core;
    this.#view = view;
    this.#blocks = blocks;
    this.#hostWrites = new HostWrites(core, view);
  }

  /** Whether anything is observed. */
  get isOn(): boolean {
    return this.#observesCode || this.#watches.length > 0;
  }
  get #observesCode(): boolean {
    return this.#breakpoints.size > 0 || this.#traced.size > 0 || this.#counters !== undefined || this.#holds;
  }

  breakAt(addresses: Iterable<Addr>): void {
    const before = this.#breakpoints;
    this.#breakpoints = new Set(addresses);
    this.#met.clear();
    this.#observeCode();
    const changed = [...before, ...this.#breakpoints].filter(
      (addr) => before.has(addr) !== this.#breakpoints.has(addr),
    );
    for (const addr of changed) {
      const ram = this.#core.ramOf(addr) >>> 0;
      if (ram !== 0xffffffff) this.#blocks.invalidate(ram, 1);
    }
  }

  watch(ranges: readonly WatchedRange[]): void {
    if (ranges.length > L.MOST_WATCHES)
      throw new EngineError(`no more than ${L.MOST_WATCHES} ranges are watched`);
    this.#watches = [...ranges];
    const view = this.#view;
    ranges.forEach(({ addr, size, access, physical, space }, i) => {
      const at = L.WATCHES + i * L.WATCH_SIZE;
      view.setBigUint64(at, addr, true);
      view.setBigUint64(at + L.WATCH_LAST, BigInt.asUintN(64, addr + BigInt(size - 1)), true);
      const kinds = { read: L.READ_BIT, write: L.WRITE_BIT, both: L.READ_BIT | L.WRITE_BIT };
      view.setUint32(at + L.WATCH_ACCESS, kinds[access], true);
      view.setUint32(at + L.WATCH_PHYSICAL, physical ? 1 : 0, true);
      view.setUint32(at + L.WATCH_SPACE, space === undefined ? 0 : space + 1, true);
    });
    view.setUint32(L.WATCH_COUNT, ranges.length, true);
    this.#observeMemory();
    this.#hostWrites.watch(ranges);
  }
  get hits(): readonly Hit[] {
    return this.#hits;
  }

  trace(what: readonly Traced[]): void {
    this.#traced = new Set(what);
    this.#observeCode(true);
    this.#observeMemory();
  }

  takeTrace(): { readonly events: TraceEvent[]; readonly lost: number } {
    const count = Number(this.#view.getBigUint64(L.EVENT_COUNT, true));
    const lost = Math.max(0, count - L.MOST_EVENTS);
    const events = Array.from({ length: count - lost }, (_, i) => this.#eventAt((lost + i) % L.MOST_EVENTS));
    this.#view.setBigUint64(L.EVENT_COUNT, 0n, true);
    return { events, lost };
  }
  #eventAt(index: number): TraceEvent {
    const view = this.#view;
    const at = L.EVENTS + index * L.EVENT_SIZE;
    const what = view.getUint32(at, true);
    const kind = what & 0xff;
    return {
      what: KINDS[kind as keyof typeof KINDS] ?? (kind === L.EVENT_WRITE ? 'write' : 'read'),
      context: this.#contexts[view.getUint32(at + L.EVENT_OF_CONTEXT, true)],
      number: Number(view.getBigUint64(at + L.EVENT_NUMBER, true)),
      pc: view.getBigUint64(at + L.EVENT_RIP, true),
      addr: view.getBigUint64(at + L.EVENT_ADDRESS, true),
      size: what >>> 8,
      value: view.getBigUint64(at + L.EVENT_VALUE, true),
    };
  }

  count(on: boolean): void {
    this.#counters = on ? new Map() : undefined;
    this.#areAllCounted = true;
    this.#observeCode(true);
  }
  counts(): { readonly executed: ReadonlyMap<Addr, number>; readonly complete: boolean } {
    const counted = [...(this.#counters ?? [])].map(
      ([rip, cell]) => [rip, Number(this.#view.getBigUint64(cell, true))] as const,
    );
    return { executed: new Map(counted.filter(([, count]) => count > 0)), complete: this.#areAllCounted };
  }
  /** The cell of an instruction, 0 when there is no room for one more. */
  #counterOf(counters: Map<Addr, number>, rip: Addr): number {
    const known = counters.get(rip);
    if (known !== undefined) return known;
    if (counters.size === L.MOST_COUNTERS) {
      this.#areAllCounted = false;
      return 0;
    }
    const cell = L.COUNTERS + 8 * counters.size;
    this.#view.setBigUint64(cell, 0n, true);
    counters.set(rip, cell);
    return cell;
  }
  /** The engine has executed an instruction itself. Most of those serialise; behind the others stores may go out as well. */
  executed(context: CoreContext, rip: Addr): void {
    if (this.#holds) this.release(context);
    const cell = this.#counters?.get(rip);
    if (cell) this.#view.setBigUint64(cell, this.#view.getBigUint64(cell, true) + 1n, true);
  }

  holdStores(on: boolean): void {
    for (const context of this.#queues.keys()) this.release(context);
    this.#queues.clear();
    this.#holds = on;
    this.#view.setUint32(L.STORE_QUEUE, 0, true);
    this.#observeCode(true);
    this.#observeMemory();
  }
  waiting(context: CpuContext): number {
    const queue = this.#queues.get(context as CoreContext);
    return queue === undefined ? 0 : this.#view.getUint32(queue, true);
  }
  release(context: CpuContext, most = L.MOST_STORES): number {
    const queue = this.#queues.get(context as CoreContext);
    if (queue === undefined) return 0;
    this.#hostWrites.find();
    const left = this.#core.drainQueue(queue, most);
    // What they change was told of as they were executed.
    this.#hostWrites.look();
    return left;
  }
  #queueOf(context: CoreContext): number {
    const known = this.#queues.get(context);
    if (known !== undefined) return known;
    if (this.#queues.size === L.MOST_STORE_QUEUES)
      throw new EngineError(`stores of no more than ${L.MOST_STORE_QUEUES} contexts wait`);
    const queue = L.STORE_QUEUES + this.#queues.size * L.STORE_QUEUE_SIZE;
    this.#view.setUint32(queue, 0, true);
    this.#queues.set(context, queue);
    return queue;
  }

  /** What the translator writes depends on it. @param anew blocks that exist do not say it */
  #observeCode(anew = false): void {
    const counters = this.#counters;
    const observed = new ObservedInstructions({
      breakpoints: this.#breakpoints,
      blocks: this.#traced.has('blocks'),
      calls: this.#traced.has('calls'),
      accesses: this.#traced.has('accesses'),
      holds: this.#holds,
      counter: counters && ((rip) => this.#counterOf(counters, rip)),
    });
    this.#blocks.observe(this.#observesCode ? observed : undefined, anew);
  }
  #observeMemory(): void {
    const bits =
      (this.#watches.length > 0 ? L.OBSERVE_WATCH : 0) |
      (this.#traced.has('accesses') ? L.OBSERVE_LOG : 0) |
      (this.#holds ? L.OBSERVE_HOLD : 0);
    this.#view.setUint32(L.OBSERVING, bits, true);
    this.#core.flushTlb();
  }

  run(context: CoreContext, max: number, oneBlock: 0 | 1, idle: Stop, execute: Execute): Stop {
    const written = this.#hostWrites.take();
    if (written.length > 0) {
      this.#hits = written;
      return Object.assign(idle, { kind: 'watchpoint', executed: 0 });
    }
    this.#enter(context);
    let stop = this.#passing(this.#met.take(context), () => execute(max, oneBlock, 0));
    // Back from an interrupt at one that was told of before it.
    while (stop.kind === 'breakpoint' && stop.executed < max && this.#met.take(context)) {
      const before = stop.executed;
      stop = this.#passing(true, () => execute(max, oneBlock, before));
    }
    while (stop.kind === 'watchpoint') {
      // Before an access to what is watched: once more, and this time it is looked at.
      const before = stop.executed;
      stop = this.#recording(context, () => execute(before + 1, 0, before));
      const isDone = stop.executed > before;
      if (isDone && this.#takeHits()) stop.kind = 'watchpoint';
      if (!isDone || stop.kind !== 'budget' || oneBlock === 1 || stop.executed >= max) break;
      stop = execute(max, oneBlock, stop.executed);
    }
    if (stop.kind === 'breakpoint') this.#met.add(context);
    if (this.#holds && !WAITING.has(stop.kind)) this.release(context);
    this.#hostWrites.look();
    return stop;
  }

  #enter(context: CoreContext): void {
    let number = this.#contexts.indexOf(context);
    if (number < 0) number = this.#contexts.push(context) - 1;
    this.#view.setUint32(L.EVENT_CONTEXT, number, true);
    if (this.#holds) this.#view.setUint32(L.STORE_QUEUE, this.#queueOf(context), true);
  }

  #passing(passes: boolean, execute: () => Stop): Stop {
    this.#view.setUint32(L.BREAK_PASS, passes ? 1 : 0, true);
    const stop = execute();
    this.#view.setUint32(L.BREAK_PASS, 0, true);
    return stop;
  }
  #recording(context: CoreContext, execute: () => Stop): Stop {
    this.#view.setUint32(L.HIT_COUNT, 0, true);
    this.#view.setUint32(L.WATCH_RECORDS, 1, true);
    const stop = this.#passing(this.#breakpoints.has(context.regs[REG.rip]), execute);
    this.#view.setUint32(L.WATCH_RECORDS, 0, true);
    return stop;
  }
  /** @returns whether there are any */
  #takeHits(): boolean {
    const view = this.#view;
    const count = Math.min(view.getUint32(L.HIT_COUNT, true), L.MOST_HITS);
    if (count === 0) return false;
    this.#hits = Array.from({ length: count }, (_, i): Hit => {
      const at = L.HITS + i * L.HIT_SIZE;
      const size = view.getUint32(at + L.HIT_BYTES, true);
      return {
        addr: view.getBigUint64(at, true),
        size,
        access: view.getUint32(at + L.HIT_ACCESS, true) === WRITE ? 'write' : 'read',
        before: view.getBigUint64(at + L.HIT_BEFORE, true),
        after: BigInt.asUintN(8 * size, view.getBigUint64(at + L.HIT_AFTER, true)),
        by: 'guest',
      };
    });
    return true;
  }

  /** The budget of a run of the core ends when the engine will have executed so many instructions. */
  runEndsAt(number: number): void {
    this.#view.setBigUint64(L.RUN_ENDS_AT, BigInt(number), true);
  }
}
