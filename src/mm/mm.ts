// The functions of the heap that guest code calls, by name. Mirrors mm/slab_common.c, mm/util.c, mm/vmalloc.c,
// lib/kasprintf.c; asm/x86_64/mm.s has their stubs.

import { type Addr, isKernelAddress } from '../guest/addr.ts';
import type { HostCall, HostFunction } from '../guest/hostcall.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import { writeCut } from '../kernel/lib.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FormatContext, vsprintfGuest } from '../kernel/vsprintf.ts';
import { Caches } from './caches.ts';
import { Kmalloc, ZERO_SIZE_PTR } from './kmalloc.ts';
import { Pages } from './pages.ts';
import { PerCpuAlloc } from './percpu_alloc.ts';
import type { RcuPort } from './ports.ts';

const { EFAULT, ERANGE } = UAPI;
const STRING_MAX = 1 << 20;
/** kfree_rcu(ptr): the place of the rcu_head is below this. */
const RCU_OFFSET_MAX = 4096n;

/** Makes the heap of guest code, and defines every host function of it. */
export function defineMm(core: KernelCore, format: FormatContext, rcu: RcuPort): Kmalloc {
  const kmalloc = new Kmalloc(core, rcu);
  const caches = new Caches(core, kmalloc);
  core.host.defineAll({
    ...kmallocFunctions(core, kmalloc),
    ...pageFunctions(kmalloc),
    ...copyFunctions(core, kmalloc, format),
    ...caches.hostFunctions(),
  });
  core.host.offerAll({
    ...caches.realFunctions(),
    ...new PerCpuAlloc(core).hostFunctions(),
    ...new Pages(core, kmalloc).hostFunctions(),
    ...realFunctions(kmalloc),
  });
  core.host.define('copy_from_kernel_nofault_allowed', ({ args: [from, size] }) => {
    if (!isKernelAddress(from)) return negErrno(ERANGE);
    return size === 0n || core.mem.isMapped(from, Number(size)) ? 0 : negErrno(EFAULT);
  });
  return kmalloc;
}

function kmallocFunctions(core: KernelCore, kmalloc: Kmalloc): Record<string, HostFunction> {
  const { mem } = core;
  const sized =
    (argument: number): HostFunction =>
    (call) =>
      kmalloc.alloc(call, call.args[argument]);
  const free: HostFunction = ({ args }) => kmalloc.free(args[0]);
  const realloc: HostFunction = (call) => {
    const [old, size] = call.args;
    const to = kmalloc.alloc(call, size);
    if (to === 0n || old <= ZERO_SIZE_PTR) return to;
    const kept = Math.min(kmalloc.sizeOf(old) ?? 0, Number(size));
    if (kept > 0) mem.writeBytes(to, mem.readBytes(old, kept));
    kmalloc.free(old);
    return to;
  };
  // 6.18, with alignment and node: seen in 7.3.4
  core.host.offerAll({ krealloc_node_align: realloc });
  return {
    __kmalloc: sized(0),
    __kmalloc_node: sized(0),
    // (cache, flags, size) and (cache, flags, node, size)
    kmalloc_trace: sized(2),
    kmalloc_node_trace: sized(3),
    kmalloc_large: sized(0),
    kmalloc_large_node: sized(0),
    kvmalloc_node: sized(0),
    kfree: free,
    kfree_sensitive: free,
    kvfree: free,
    // The kernel's own constants are copied here too: nothing is given back that was not allocated.
    kfree_const: free,
    ksize: ({ args }) => kmalloc.sizeOf(args[0]) ?? 0,
    krealloc: realloc,
    // (head, offset of head in what goes), or (NULL, what goes)
    kvfree_call_rcu: ({ args }) => {
      const [head, offset] = args;
      kmalloc.freeRcu(head !== 0n && offset < RCU_OFFSET_MAX ? head - offset : offset);
    },
  };
}

function pageFunctions(kmalloc: Kmalloc): Record<string, HostFunction> {
  const pages = (call: HostCall, size: bigint): Addr => kmalloc.alloc(call, roundUp(size));
  // alloc_pages(): 2^order pages
  const order: HostFunction = (call) => pages(call, BigInt(PAGE_SIZE) << (call.args[1] & 0xffn));
  return {
    vmalloc: (call) => (call.args[0] === 0n ? 0n : pages(call, call.args[0])),
    vzalloc: (call) => (call.args[0] === 0n ? 0n : pages(call, call.args[0])),
    __vmalloc: (call) => (call.args[0] === 0n ? 0n : pages(call, call.args[0])),
    vfree: ({ args }) => kmalloc.free(args[0]),
    __get_free_pages: order,
    get_zeroed_page: (call) => pages(call, 1n),
    free_pages: ({ args }) => kmalloc.free(args[0]),
  };
}

/** What a real kernel has besides. */
function realFunctions(kmalloc: Kmalloc): Record<string, HostFunction> {
  const pages: HostFunction = (call) =>
    call.args[0] === 0n ? 0n : kmalloc.alloc(call, roundUp(call.args[0]));
  return {
    __kmalloc_node_track_caller: (call) => kmalloc.allocForCaller(call),
    __ksize: ({ args }) => kmalloc.sizeOf(args[0]) ?? 0,
    vmalloc_node: pages,
    vzalloc_node: pages,
    __vmalloc_node: pages,
    __vmalloc_node_range: pages,
  };
}

function roundUp(size: bigint): bigint {
  return (size + BigInt(PAGE_SIZE - 1)) & ~BigInt(PAGE_SIZE - 1);
}

function copyFunctions(
  core: KernelCore,
  kmalloc: Kmalloc,
  format: FormatContext,
): Record<string, HostFunction> {
  const { mem } = core;
  const duplicate = (call: HostCall, from: Addr, length: number, ended: boolean): Addr => {
    const to = kmalloc.alloc(call, BigInt(length + (ended ? 1 : 0)));
    if (to > ZERO_SIZE_PTR && length > 0) mem.writeBytes(to, mem.readBytes(from, length));
    return to;
  };
  const string = (call: HostCall, max: number): Addr => {
    const [from] = call.args;
    return from === 0n ? 0n : duplicate(call, from, mem.readCString(from, max).length, true);
  };
  const printed = (call: HostCall, text: string): Addr => {
    const buf = kmalloc.alloc(call, BigInt(text.length + 1));
    if (buf !== 0n) writeCut(mem, buf, BigInt(text.length + 1), text);
    return buf;
  };
  return {
    kstrdup: (call) => string(call, STRING_MAX),
    kstrdup_const: (call) => string(call, STRING_MAX),
    kstrndup: (call) => string(call, Number(call.args[1])),
    kmemdup: (call) => duplicate(call, call.args[0], Number(call.args[1]), false),
    kmemdup_nul: (call) => duplicate(call, call.args[0], Number(call.args[1]), true),
    // (flags, format, ...) and (flags, format, va_list)
    kasprintf: (call) =>
      printed(call, vsprintfGuest(format, call.args[1], format.varargs.callArgs(mem, call, 2))),
    kvasprintf: (call) =>
      printed(call, vsprintfGuest(format, call.args[1], format.varargs.vaList(mem, call.args[2]))),
  };
}
