// The heap as guest code sees it: who has asked for what, what is around it, and what a module left behind.
// Mirrors mm/slab_common.c and mm/slub.c by behaviour.
//
// Invariant: an allocation belongs to the module whose code asked for it, or to the kernel function that did.
// A module's has a red zone on each side, whole until it is freed or the kernel log says who was overwritten.

import type { Addr } from '../guest/addr.ts';
import { hex } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import { GuestMemoryError, PAGE_SIZE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { holds, type Since } from '../kernel/release.ts';
import { slotSize } from '../kernel/slab.ts';
import { addTaint, printTainted } from '../kernel/taint.ts';
import type { RcuPort } from './ports.ts';
import { checkZones, paintZones, redzoneReport, type Zoned, zonesOf } from './redzone.ts';
import type { HeapObject } from './usercopy.ts';

/** What kmalloc(0) gives: it may be freed, and not followed. */
export const ZERO_SIZE_PTR = 16n;
/** KMALLOC_MAX_CACHE_SIZE: above it pages come from the page allocator, without a cache. */
const KMALLOC_MAX_CACHE_SIZE = 8192;

/** An allocation of a module that is not freed. */
export interface ModuleObject {
  readonly addr: Addr;
  /** Bytes asked for. */
  readonly size: number;
  readonly module: string;
  /** The function that asked, as %pS shows it. */
  readonly caller: string;
  /** Virtual ns since boot. */
  readonly at: number;
  readonly cpu: number;
  readonly pid: number;
}

interface Live extends ModuleObject {
  module: string;
  readonly base: Addr;
  readonly zones: Zoned;
  readonly cache: string;
  /** kfree_rcu(): it goes by itself. */
  dying: boolean;
  /** Its module is gone, and this was said. */
  reported: boolean;
}

/** They allocate for whoever called them, and some of them call each other. */
const FOR_CALLERS: ReadonlySet<string> = new Set(
  'kasprintf kvasprintf kvasprintf_const kstrdup_const'.split(' '),
);
/** CONFIG_SLAB_BUCKETS: __kmalloc_node_track_caller(size, bucket, flags, node, caller); before it without the bucket. */
const HAS_BUCKETS: Since = { release: '6.11', seen: '6.12.117, 7.3.4', not: '6.1' };

export class Kmalloc {
  readonly #core: KernelCore;
  /** The stack of who makes a call, as return addresses, innermost first. */
  callers: ((call: HostCall) => Iterable<Addr>) | undefined;
  readonly #rcu: RcuPort;
  readonly #live = new Map<Addr, Live>();

  constructor(core: KernelCore, rcu: RcuPort) {
    this.#core = core;
    this.#rcu = rcu;
  }

  /**
   * Zeroed guest memory, as CONFIG_INIT_ON_ALLOC_DEFAULT_ON has it; 0 when the heap is full.
   * @param cache name of the cache in reports, where it is not kmalloc's own.
   */
  alloc(call: HostCall, size: bigint, cache?: string): Addr {
    const { mem, slab, symbols } = this.#core;
    if (size === 0n) return ZERO_SIZE_PTR;
    if (size >= BigInt(mem.geometry.heap)) return 0n;
    const from = symbols.lookup(call.caller - 1n);
    if (from?.module === undefined) return slab.tryAlloc(Number(size), from?.name ?? 'kernel');
    const zones = zonesOf(Number(size));
    const base = slab.tryAlloc(zones.total, from.module);
    if (base === 0n) return 0n;
    paintZones(mem, base, zones);
    const addr = base + BigInt(zones.left);
    this.#live.set(addr, {
      ...this.#origin(call, addr, from.module),
      ...{ base, zones, size: Number(size) },
      cache: cache ?? cacheOf(Number(size)),
      dying: false,
      reported: false,
    });
    return addr;
  }

  /** For whom kernel code copies something: who called it is an argument. */
  allocForCaller(call: HostCall): Addr {
    const { args } = call;
    const caller = this.#asker(call, args[holds(this.#core.kernel, HAS_BUCKETS) ? 4 : 3]);
    return this.alloc({ ...call, caller }, args[0]);
  }

  #asker(call: HostCall, caller: Addr): Addr {
    const isForCaller = (addr: Addr): boolean =>
      FOR_CALLERS.has(this.#core.symbols.lookup(addr - 1n)?.name ?? '');
    if (!isForCaller(caller)) return caller;
    let isBehind = false;
    for (const addr of this.callers?.(call) ?? []) {
      const isOne = isForCaller(addr);
      if (isBehind && !isOne) return addr;
      isBehind ||= isOne;
    }
    return caller;
  }

  #origin(call: HostCall, addr: Addr, module: string): Omit<ModuleObject, 'size'> {
    const { clock, sym } = this.#core;
    const { pid } = this.#core.currentOf(call);
    return { addr, module, caller: sym(call.caller), at: clock.now(), cpu: call.cpu, pid };
  }

  /** kfree(): of anything that is not allocated it is an oops of the caller. @throws GuestMemoryError */
  free(addr: Addr): void {
    if (addr <= ZERO_SIZE_PTR) return;
    const { slab, printk } = this.#core;
    const object = this.#live.get(addr);
    if (object) {
      this.#check(object);
      this.#live.delete(addr);
      slab.free(object.base);
    } else if (slab.sizeOf(addr) === undefined) {
      printk.warn(`kfree: object pointer: ${hex(addr)} is not allocated`);
      throw new GuestMemoryError('kfree of memory that is not allocated', addr);
    } else slab.free(addr);
  }

  /** kfree_rcu() */
  freeRcu(addr: Addr): void {
    const object = this.#live.get(addr);
    if (object) object.dying = true;
    else if (this.#core.slab.sizeOf(addr) === undefined) this.free(addr);
    this.#rcu.afterGracePeriod(() => {
      // What was freed twice was an oops of whoever came second.
      if (this.sizeOf(addr) !== undefined) this.free(addr);
    });
  }

  /** ksize(): bytes asked for; undefined for what is not allocated. */
  sizeOf(addr: Addr): number | undefined {
    return this.#live.get(addr)?.size ?? this.#core.slab.sizeOf(addr);
  }

  /** The object of a module that an address lies in, with what its cache lets a user's copy touch. */
  objectAt(addr: Addr): HeapObject | undefined {
    for (const object of this.#live.values()) {
      if (addr < object.addr || addr >= object.addr + BigInt(object.size)) continue;
      const own = object.cache !== cacheOf(object.size);
      return { addr: object.addr, cache: object.cache, usable: own ? 0 : usableOf(object.size) };
    }
    return undefined;
  }

  /** What modules have now, oldest first; what kfree_rcu() has is not theirs any more. */
  objects(module?: string): ModuleObject[] {
    return [...this.#live.values()].filter((o) => !o.dying && (module === undefined || o.module === module));
  }

  /** Looks at every red zone; says in the log which were overwritten, and mends them. @returns how many. */
  checkAll(): number {
    let bad = 0;
    for (const object of this.#live.values()) if (!this.#check(object)) bad++;
    return bad;
  }

  #check(object: Live): boolean {
    const { mem, printk, clock } = this.#core;
    const overwritten = checkZones(mem, object.base, object.zones);
    if (!overwritten) return true;
    const { caller, at } = object;
    const about = { ...object, allocatedIn: caller, ageNs: clock.now() - at };
    const report = redzoneReport(overwritten, about, printTainted(this.#core));
    for (const line of report.slice(0, -1)) printk.err(line);
    addTaint(this.#core, this.#core.kernel.constants.TAINT_BAD_PAGE, 'now unreliable');
    printk.err(report[report.length - 1]);
    paintZones(mem, object.base, object.zones);
    return false;
  }

  /**
   * The module's code is about to go: what it still has is lost. An event says so; the kernel says nothing.
   * @param heir who goes on with it: what the functions of a livepatch allocated is the patched object's.
   */
  moduleGone(module: string, heir?: string): ModuleObject[] {
    const left = [...this.#live.values()].filter((o) => o.module === module && !o.dying && !o.reported);
    for (const object of left) {
      this.#check(object);
      if (heir === undefined) object.reported = true;
      else object.module = heir;
    }
    if (heir !== undefined || left.length === 0) return [];
    const objects = left.map(({ addr, size, caller }) => ({ addr, size, caller }));
    this.#core.events.emit({ type: 'leak', module, objects });
    return left;
  }

  /** What unloaded modules left behind, oldest first. */
  leaks(): ModuleObject[] {
    return [...this.#live.values()].filter((o) => o.reported);
  }
}

/** The whole of a slot of kmalloc's own caches, or of the pages. */
function usableOf(size: number): number {
  return size > KMALLOC_MAX_CACHE_SIZE ? Math.ceil(size / PAGE_SIZE) * PAGE_SIZE : slotSize(size);
}

/** `kmalloc-64`, or the page allocator's name for what is larger than any cache. */
function cacheOf(size: number): string {
  if (size > KMALLOC_MAX_CACHE_SIZE) return 'kmalloc-large';
  const slot = slotSize(size);
  return slot < 1024 ? `kmalloc-${slot}` : `kmalloc-${slot / 1024}k`;
}
