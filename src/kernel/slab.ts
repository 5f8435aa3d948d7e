// Kernel heap in the direct map: kmalloc and friends, with owners and accounting for leak reports.
// Mirrors mm/slab_common.c by behaviour (power-of-two caches, 8-byte minimum), not by structure.
//
// Invariant: used() is the sum of live allocations; freeing what is not allocated is an error.

import { type Addr, hex, PAGE_OFFSET } from '../guest/addr.ts';
import { type GuestMemory, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../guest/memory.ts';

/** A free of something that is not allocated, or an allocation that does not fit. */
export class SlabError extends Error {
  readonly code: 'ENOMEM' | 'EINVAL';
  constructor(code: 'ENOMEM' | 'EINVAL', message: string) {
    super(message);
    this.name = 'SlabError';
    this.code = code;
  }
}

/** Of a Slab, its live allocations by columns. */
interface KeptSlab {
  readonly free: ReadonlyMap<number, readonly Addr[]>;
  readonly addresses: BigUint64Array;
  readonly sizes: Uint32Array;
  readonly slots: Uint32Array;
  /** Numbers in `names`. */
  readonly owners: Uint32Array;
  readonly names: readonly string[];
  readonly partial: ReadonlyMap<number, { readonly next: number; readonly end: number }>;
  readonly next: number;
  readonly used: number;
}

interface Allocation {
  readonly size: number;
  readonly slot: number;
  readonly owner: string;
}

export class Slab {
  readonly #mem: GuestMemory;
  readonly #free = new Map<number, Addr[]>();
  readonly #live = new Map<Addr, Allocation>();
  /** Offsets in the heap of what is left of the slab that each small cache carves objects from. */
  readonly #partial = new Map<number, { next: number; end: number }>();
  #next = PAGE_SIZE;
  readonly #end: number;
  #used = 0;
  /** Asked before each allocation: true makes it fail, as a full heap would. */
  fault: ((size: number, owner: string) => boolean) | undefined;

  constructor(mem: GuestMemory) {
    this.#mem = mem;
    // Page 0 of the direct map stays unmapped, so that a small offset from its base faults.
    this.#end = mem.geometry.heap;
    mem.map(PAGE_OFFSET + BigInt(PAGE_SIZE), this.#end - PAGE_SIZE, PROT_READ | PROT_WRITE);
  }

  /**
   * Zeroed memory of `size` bytes, aligned to at least 8 and to its own slot size up to a page; above 8 KiB to 64.
   * @param owner what the leak report calls it: a module, or a structure.
   * @throws SlabError ENOMEM when the heap is full.
   */
  alloc(size: number, owner: string): Addr {
    if (this.fault?.(size, owner)) throw new SlabError('ENOMEM', `no memory for ${size} bytes: a fault`);
    const slot = slotSize(size);
    const used = this.#free.get(slot)?.pop();
    // Somebody may have written to it after it was freed.
    if (used !== undefined) this.#mem.fill(used, slot, 0);
    const addr = used ?? this.#bump(slot);
    this.#live.set(addr, { size, slot, owner });
    this.#used += size;
    return addr;
  }

  /** The same, or 0 when the heap is full. */
  tryAlloc(size: number, owner: string): Addr {
    try {
      return this.alloc(size, owner);
    } catch (error) {
      if (error instanceof SlabError && error.code === 'ENOMEM') return 0n;
      throw error;
    }
  }

  /** kfree(). NULL is allowed. The bytes are cleared. */
  free(addr: Addr): void {
    if (addr === 0n) return;
    const allocation = this.#live.get(addr);
    if (!allocation) throw new SlabError('EINVAL', `kfree of ${hex(addr)}, which is not allocated`);
    this.#live.delete(addr);
    this.#used -= allocation.size;
    this.#mem.fill(addr, allocation.slot, 0);
    const list = this.#free.get(allocation.slot);
    if (list) list.push(addr);
    else this.#free.set(allocation.slot, [addr]);
  }

  keep(): KeptSlab {
    const live = [...this.#live.values()];
    const names = [...new Set(live.map(({ owner }) => owner))];
    const numbers = new Map(names.map((name, i) => [name, i]));
    return {
      free: this.#free,
      addresses: BigUint64Array.from(this.#live.keys()),
      sizes: Uint32Array.from(live, ({ size }) => size),
      slots: Uint32Array.from(live, ({ slot }) => slot),
      owners: Uint32Array.from(live, ({ owner }) => numbers.get(owner) as number),
      names,
      partial: this.#partial,
      next: this.#next,
      used: this.#used,
    };
  }

  restore({ free, addresses, sizes, slots, owners, names, partial, next, used }: KeptSlab): void {
    this.#free.clear();
    for (const [slot, list] of free) this.#free.set(slot, [...list]);
    this.#live.clear();
    for (let i = 0; i < addresses.length; i++)
      this.#live.set(addresses[i], { size: sizes[i], slot: slots[i], owner: names[owners[i]] });
    this.#partial.clear();
    for (const [slot, left] of partial) this.#partial.set(slot, { ...left });
    this.#next = next;
    this.#used = used;
  }

  /** Bytes asked for and not freed. */
  used(): number {
    return this.#used;
  }

  /** ksize() of a live allocation; undefined otherwise. Bytes. */
  sizeOf(addr: Addr): number | undefined {
    return this.#live.get(addr)?.size;
  }

  /** Live allocations, oldest first. */
  live(): { addr: Addr; size: number; owner: string }[] {
    const live: { addr: Addr; size: number; owner: string }[] = [];
    // Of thousands, without a pair made for each.
    this.#live.forEach(({ size, owner }, addr) => {
      live.push({ addr, size, owner });
    });
    return live;
  }

  /** A slot that nobody has had yet. Small ones share pages, so that large ones need not start new ones. */
  #bump(slot: number): Addr {
    if (slot >= PAGE_SIZE) return PAGE_OFFSET + BigInt(this.#take(slot, Math.min(slot & -slot, PAGE_SIZE)));
    let slab = this.#partial.get(slot);
    if (!slab || slab.next + slot > slab.end) {
      const next = this.#take(PAGE_SIZE, PAGE_SIZE);
      slab = { next, end: next + PAGE_SIZE };
      this.#partial.set(slot, slab);
    }
    const offset = slab.next;
    slab.next += slot;
    return PAGE_OFFSET + BigInt(offset);
  }

  #take(bytes: number, align: number): number {
    const offset = Math.ceil(this.#next / align) * align;
    if (offset + bytes > this.#end) throw new SlabError('ENOMEM', `no memory for ${bytes} bytes`);
    this.#next = offset + bytes;
    return offset;
  }
}

/** kmalloc caches: 8 16 32 64 96 128 192 256 512 ... 8192, then multiples of 64. Bytes. */
export function slotSize(size: number): number {
  if (size > 8192) return (size + 63) & ~63;
  if (size > 64 && size <= 96) return 96;
  if (size > 128 && size <= 192) return 192;
  return 1 << Math.max(3, 32 - Math.clz32(Math.max(size, 1) - 1));
}
