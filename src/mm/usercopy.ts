// Whether a copy to or from a user stays within one object. Mirrors mm/usercopy.c with CONFIG_HARDENED_USERCOPY.
//
// The heap's part knows what modules allocated: what the kernel model keeps for itself is not looked at.

import type { Addr } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { KERN_EMERG } from '../kernel/printk.ts';

/** ZERO_SIZE_PTR: what kmalloc(0) returns; it and what is below are no objects. */
const ZERO_SIZE_PTR = 16n;

/** An object of the heap: where it is, how far a user's copy may go, and its cache's name. */
export interface HeapObject {
  readonly addr: Addr;
  readonly usable: number;
  readonly cache: string;
}

interface Heap {
  objectAt(addr: Addr): HeapObject | undefined;
}

interface Refused {
  readonly name: string;
  readonly detail?: string;
  readonly offset: bigint;
  readonly size: bigint;
}

/** [start, end) */
type Range = readonly [Addr, Addr];

/**
 * @param texts of the image.
 * @param heap what knows the object that an address lies in.
 */
export function defineUsercopy(core: KernelCore, texts: readonly Range[], heap: Heap): void {
  // bool usercopy_refused(ptr, n, to_user): says why, before the BUG() of usercopy_abort().
  core.host.define('usercopy_refused', (call) => {
    const refused = check(core, call, texts, heap);
    if (!refused) return 0;
    const toUser = (call.args[2] & 0xffn) !== 0n;
    const what = toUser ? 'exposure attempt detected from' : 'overwrite attempt detected to';
    const { name, detail, offset, size } = refused;
    const where = detail === undefined ? name : `${name} '${detail}'`;
    const at = BigInt.asUintN(64, offset);
    core.printk.log(KERN_EMERG, `usercopy: Kernel memory ${what} ${where} (offset ${at}, size ${size})!`);
    return 1;
  });
}

function check(core: KernelCore, call: HostCall, texts: readonly Range[], heap: Heap): Refused | undefined {
  const [ptr, size] = call.args;
  const end = ptr + size;
  if (BigInt.asUintN(64, end - 1n) < ptr) {
    return { name: 'wrapped address', offset: 0n, size: BigInt.asUintN(64, end) };
  }
  if (ptr <= ZERO_SIZE_PTR) return { name: 'null address', offset: ptr, size };
  const base = core.currentOf(call).stackBase;
  const top = base + BigInt(core.kernel.constants.THREAD_SIZE);
  if (end > base && ptr < top) {
    const within = ptr >= base && end <= top && ptr >= call.sp;
    return within ? undefined : { name: 'process stack', offset: call.sp - ptr, size };
  }
  const object = heap.objectAt(ptr);
  if (object && end > object.addr + BigInt(object.usable)) {
    const offset = ptr - object.addr;
    if (object.cache === 'kmalloc-large') return { name: 'page alloc', offset, size };
    return { name: 'SLUB object', detail: object.cache, offset, size };
  }
  const text = texts.find(([low, high]) => ptr < high && end > low);
  return text && { name: 'kernel text', offset: ptr - text[0], size };
}
