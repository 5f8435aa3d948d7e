// kmalloc() and its relatives, as guest code calls them. Mirrors mm/slab_common.c and mm/util.c.
//
// An allocation is owned by the module that asked for it, so that what a module leaves behind has its name.

import type { Addr } from '../guest/addr.ts';
import { hex } from '../guest/addr.ts';
import type { HostCall, HostFunction } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import type { KernelCore } from './core.ts';
import { SlabError } from './slab.ts';

/** What kmalloc(0) gives: it may be freed, and not followed. */
const ZERO_SIZE_PTR = 16n;
const PAGE_SIZE = 4096;

/** Guest memory, or NULL when the heap is full. */
export function allocOrNull(core: KernelCore, size: number, owner: string): Addr {
  try {
    return core.slab.alloc(size, owner);
  } catch (error) {
    if (error instanceof SlabError && error.code === 'ENOMEM') return 0n;
    throw error;
  }
}

/** kfree(): of anything that is not allocated it is an oops of the caller. @throws GuestMemoryError */
export function kfree(core: KernelCore, addr: Addr): void {
  if (addr <= ZERO_SIZE_PTR) return;
  if (core.slab.sizeOf(addr) === undefined) {
    core.printk.warn(`kfree: object pointer: ${hex(addr)} is not allocated`);
    throw new GuestMemoryError('kfree of memory that is not allocated', addr);
  }
  core.slab.free(addr);
}

export function defineKmalloc(core: KernelCore): void {
  const { mem, slab, symbols } = core;
  const owner = ({ caller }: HostCall): string => symbols.lookup(caller - 1n)?.module ?? 'kernel';
  const alloc = (call: HostCall, size: bigint): Addr => {
    if (size === 0n) return ZERO_SIZE_PTR;
    return size >= BigInt(mem.geometry.heap) ? 0n : allocOrNull(core, Number(size), owner(call));
  };
  const sized =
    (argument: number): HostFunction =>
    (call) =>
      alloc(call, call.args[argument]);
  const free: HostFunction = ({ args }) => kfree(core, args[0]);
  const duplicate = (call: HostCall, from: Addr, length: number, ended: boolean): Addr => {
    const to = alloc(call, BigInt(length + (ended ? 1 : 0)));
    if (to > ZERO_SIZE_PTR) mem.writeBytes(to, mem.readBytes(from, length));
    return to;
  };
  const string = (call: HostCall, max: number): Addr => {
    const [from] = call.args;
    return from === 0n ? 0n : duplicate(call, from, mem.readCString(from, max).length, true);
  };
  core.host.defineAll({
    __kmalloc: sized(0),
    __kmalloc_node: sized(0),
    // (cache, flags, size) and (cache, flags, node, size)
    kmalloc_trace: sized(2),
    kmalloc_node_trace: sized(3),
    kmalloc_large: sized(0),
    kvmalloc_node: sized(0),
    vmalloc: (call) => alloc(call, pages(call.args[0])),
    vzalloc: (call) => alloc(call, pages(call.args[0])),
    kfree: free,
    kfree_sensitive: free,
    kvfree: free,
    vfree: free,
    ksize: ({ args }) => slab.sizeOf(args[0]) ?? 0,
    krealloc: (call) => {
      const [old, size] = call.args;
      const to = alloc(call, size);
      if (to === 0n || old <= ZERO_SIZE_PTR) return to;
      const kept = Math.min(slab.sizeOf(old) ?? 0, Number(size));
      if (kept > 0) mem.writeBytes(to, mem.readBytes(old, kept));
      kfree(core, old);
      return to;
    },
    kstrdup: (call) => string(call, 1 << 20),
    kstrndup: (call) => string(call, Number(call.args[1])),
    kmemdup: (call) => duplicate(call, call.args[0], Number(call.args[1]), false),
  });
}

function pages(size: bigint): bigint {
  return (size + BigInt(PAGE_SIZE - 1)) & ~BigInt(PAGE_SIZE - 1);
}
