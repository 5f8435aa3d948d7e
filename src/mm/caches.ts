// Caches of objects of one size: those behind kmalloc(), and those that modules make.
// Mirrors mm/slab_common.c: create_kmalloc_caches(), kmem_cache_create().
//
// Invariant: kmalloc_caches[type][index] is a struct kmem_cache whose object_size is that of the index.

import type { Addr } from '../guest/addr.ts';
import { hex } from '../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import type { Kmalloc } from './kmalloc.ts';

/** NR_KMALLOC_TYPES and KMALLOC_SHIFT_HIGH + 1, with CONFIG_ZONE_DMA and CONFIG_MEMCG_KMEM. */
const [KMALLOC_TYPES, KMALLOC_INDEXES] = [4, 14];
const TYPE_PREFIX = ['kmalloc', 'kmalloc-cg', 'kmalloc-rcl', 'dma-kmalloc'];

/** Behind the return address: a seventh argument. */
const FIRST_ON_STACK = 8n;

interface Cache {
  readonly name: string;
  readonly objectSize: number;
  readonly ctor: Addr;
  live: number;
}

export class Caches {
  readonly #core: KernelCore;
  readonly #kmalloc: Kmalloc;
  readonly #kmemCache: Structs['kmem_cache'];
  readonly #caches = new Map<Addr, Cache>();

  constructor(core: KernelCore, kmalloc: Kmalloc) {
    this.#core = core;
    this.#kmalloc = kmalloc;
    this.#kmemCache = core.kernel.structs.kmem_cache;
    this.#fillKmallocCaches();
    core.host.keeps('caches', this);
  }

  keep(): ReadonlyMap<Addr, Cache> {
    return this.#caches;
  }
  restore(kept: ReadonlyMap<Addr, Cache>): void {
    this.#caches.clear();
    for (const [addr, cache] of kept) this.#caches.set(addr, { ...cache });
  }

  #fillKmallocCaches(): void {
    const table = this.#core.symbols.require('kmalloc_caches');
    const all = this.#core.slab.alloc(KMALLOC_TYPES * KMALLOC_INDEXES * this.#kmemCache.size, 'kmem_cache');
    for (let type = 0; type < KMALLOC_TYPES; type++) {
      // Index 0 is for nothing; 1 and 2 are the sizes between powers of two.
      for (let index = 1; index < KMALLOC_INDEXES; index++) {
        const size = index === 1 ? 96 : index === 2 ? 192 : 1 << index;
        const name = `${TYPE_PREFIX[type]}-${size < 1024 ? size : `${size / 1024}k`}`;
        const at = type * KMALLOC_INDEXES + index;
        this.#put(all + BigInt(at * this.#kmemCache.size), { name, objectSize: size, ctor: 0n, live: 0 });
        this.#core.mem.writeU64(table + BigInt(8 * at), all + BigInt(at * this.#kmemCache.size));
      }
    }
  }

  #make(cache: Cache): Addr {
    const addr = this.#core.slab.tryAlloc(this.#kmemCache.size, 'kmem_cache');
    if (addr !== 0n) this.#put(addr, cache);
    return addr;
  }

  #put(addr: Addr, cache: Cache): void {
    this.#core.mem.writeU32(addr + BigInt(this.#kmemCache.fields.size), cache.objectSize);
    this.#core.mem.writeU32(addr + BigInt(this.#kmemCache.fields.object_size), cache.objectSize);
    this.#caches.set(addr, cache);
  }

  hostFunctions(): Record<string, HostFunction> {
    return {
      // (name, size, align, flags, ctor): alignment is that of kmalloc()
      kmem_cache_create: ({ args }) => {
        const name = this.#core.mem.readCString(args[0], 256);
        return this.#make({ name, objectSize: Number(args[1] & 0xffffffffn), ctor: args[4], live: 0 });
      },
      kmem_cache_alloc: (call) => this.#alloc(call),
      kmem_cache_free: ({ args }) => this.#free(args[0], args[1]),
      kmem_cache_destroy: ({ args }) => this.#destroy(args[0]),
    };
  }

  /** What a real kernel has besides. */
  realFunctions(): Record<string, HostFunction> {
    const { mem, kernel } = this.#core;
    const make = (name: Addr, size: bigint, ctor: Addr): Addr =>
      this.#make({ name: mem.readCString(name, 256), objectSize: Number(size & 0xffffffffn), ctor, live: 0 });
    const ctorAt = kernel.structs.kmem_cache_args?.fields.ctor;
    return {
      // (name, size, align, flags, useroffset, usersize, ctor): the last one is on the stack
      kmem_cache_create_usercopy: ({ args, sp }) => make(args[0], args[1], mem.readU64(sp + FIRST_ON_STACK)),
      // (name, size, args, flags)
      __kmem_cache_create_args: ({ args }) =>
        make(
          args[0],
          args[1],
          args[2] === 0n || ctorAt === undefined ? 0n : mem.readU64(args[2] + BigInt(ctorAt)),
        ),
      kmem_cache_alloc_lru: (call) => this.#alloc(call),
      kmem_cache_alloc_node: (call) => this.#alloc(call),
      kmem_cache_alloc_bulk: (call) => this.#allocBulk(call),
      // (cache or NULL, count, objects)
      kmem_cache_free_bulk: ({ args: [cache, count, objects] }) => {
        for (let i = 0n; i < count; i++) this.#free(cache, mem.readU64(objects + 8n * i));
      },
    };
  }

  /** (cache, flags, count, objects): all of them, or none and 0. */
  *#allocBulk(call: HostCall): HostGenerator<number> {
    const { mem } = this.#core;
    const [cache, , count, objects] = call.args;
    for (let i = 0n; i < count; i++) {
      const object = yield* this.#alloc(call);
      if (object === 0n) {
        for (let made = 0n; made < i; made++) this.#free(cache, mem.readU64(objects + 8n * made));
        return 0;
      }
      mem.writeU64(objects + 8n * i, object);
    }
    return Number(count);
  }

  #free(addr: Addr, object: Addr): void {
    const cache = this.#caches.get(addr);
    if (cache && object !== 0n) cache.live--;
    this.#kmalloc.free(object);
  }

  *#alloc(call: HostCall): HostGenerator<Addr> {
    const cache = this.#caches.get(call.args[0]);
    if (!cache) throw new GuestMemoryError('no such cache', call.args[0]);
    const object = this.#kmalloc.alloc(call, BigInt(cache.objectSize), cache.name);
    if (object === 0n) return 0n;
    cache.live++;
    if (cache.ctor !== 0n) yield { call: cache.ctor, args: [object] };
    return object;
  }

  #destroy(addr: Addr): void {
    const cache = this.#caches.get(addr);
    if (!cache) return;
    if (cache.live > 0) {
      const { printk } = this.#core;
      printk.err(`BUG ${cache.name}: Objects remaining in ${cache.name} on __kmem_cache_shutdown()`);
      printk.err(`kmem_cache_destroy ${cache.name}: Slab cache still has objects (${hex(addr)})`);
    }
    this.#caches.delete(addr);
    this.#core.slab.free(addr);
  }
}
