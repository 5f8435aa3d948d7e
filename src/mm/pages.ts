// The page allocator of a real kernel: pages come from the heap, and each has its struct page in the array by which the
// kernel's own code goes from one to the other (page_address(), virt_to_page()). Mirrors mm/page_alloc.c by behaviour.
//
// Invariant: the struct page of what is given out is as post_alloc_hook() leaves it; of what was given back nobody looks at it.

import type { Addr } from '../guest/addr.ts';
import { PAGE_OFFSET } from '../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator } from '../guest/hostcall.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Kmalloc } from './kmalloc.ts';

/** MAX_ORDER up to 6.3, MAX_PAGE_ORDER + 1 since. */
const ORDERS = 11;

/**
 * The array of them (vmemmap), for the direct map as far as it has memory. It lies in the heap: pages of the image have
 * none.
 */
export function makePageArray({ mem, slab, symbols, kernel }: KernelCore): void {
  const { page } = kernel.structs;
  if (!page) return;
  const array = slab.alloc((mem.geometry.heap / PAGE_SIZE) * page.size, 'vmemmap');
  mem.writeU64(symbols.require('vmemmap_base'), array);
}

export class Pages {
  readonly #core: KernelCore;
  readonly #kmalloc: Kmalloc;

  constructor(core: KernelCore, kmalloc: Kmalloc) {
    this.#core = core;
    this.#kmalloc = kmalloc;
  }

  hostFunctions(): Record<string, HostFunction> {
    const free: HostFunction = ({ args: [page] }) => this.#kmalloc.free(this.#addressOf(page));
    return {
      // (gfp, order, nid, nodemask)
      __alloc_pages: (call) => this.#alloc(call, 1),
      __alloc_frozen_pages: (call) => this.#alloc(call, 0),
      // (page, order)
      free_unref_page: free,
      __free_pages_ok: free,
      __free_frozen_pages: free,
    };
  }

  *#alloc({ args: [gfp, order], caller }: HostCall, references: number): HostGenerator<Addr> {
    const { mem, slab, symbols, faults, kernel } = this.#core;
    const { page: layout } = kernel.structs;
    if (!layout || order >= BigInt(ORDERS)) return 0n;
    const owner = symbols.lookup(caller - 1n)?.name ?? 'kernel';
    if (faults.check('kmalloc', owner) !== 0) return 0n;
    const count = 1 << Number(order);
    const address = slab.tryAlloc(PAGE_SIZE * count, owner);
    if (address === 0n) return 0n;
    const { _refcount, _mapcount } = layout.fields;
    const first = this.#pageOf(address);
    mem.fill(first, layout.size * count, 0);
    for (let i = 0; i < count; i++) mem.writeU32(first + BigInt(layout.size * i + _mapcount), 0xffffffff);
    mem.writeU32(first + BigInt(_refcount), references);
    if (order > 0n && (Number(gfp & 0xffffffffn) & kernel.constants.__GFP_COMP) !== 0)
      yield { call: symbols.require('prep_compound_page'), args: [first, order] };
    return first;
  }

  get #array(): Addr {
    return this.#core.mem.readU64(this.#core.symbols.require('vmemmap_base'));
  }

  #pageOf(address: Addr): Addr {
    const size = this.#core.kernel.structs.page?.size ?? 0;
    return this.#array + ((address - PAGE_OFFSET) >> BigInt(PAGE_SHIFT)) * BigInt(size);
  }

  #addressOf(page: Addr): Addr {
    const size = this.#core.kernel.structs.page?.size ?? 0;
    return PAGE_OFFSET + (((page - this.#array) / BigInt(size)) << BigInt(PAGE_SHIFT));
  }
}
