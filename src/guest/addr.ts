// Guest virtual addresses, and how they are printed.
// The kernel prints %px as 16 hex digits; ranges follow arch/x86/include/asm/pgtable_64_types.h.

/** A guest virtual address: an unsigned 64-bit value. */
export type Addr = bigint;

/** The address as the kernel's %px prints it: 16 hex digits, no prefix. */
export function hex16(addr: Addr): string {
  return BigInt.asUintN(64, addr).toString(16).padStart(16, '0');
}

/** The address with 0x and no padding, for messages of our own. */
export function hex(addr: Addr): string {
  return `0x${BigInt.asUintN(64, addr).toString(16)}`;
}

/** One address and its halves, low one first: several times faster than arithmetic with bigints. */
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);

/** Low 32 bits of an address, as an unsigned number. */
export function lo32(addr: Addr): number {
  whole[0] = addr;
  return halves[0];
}

/** High 32 bits of an address, as an unsigned number. */
export function hi32(addr: Addr): number {
  whole[0] = addr;
  return halves[1];
}

/** The address made of two unsigned 32-bit halves. */
export function fromHalves(hi: number, lo: number): Addr {
  halves[0] = lo;
  halves[1] = hi;
  return whole[0];
}

/** TASK_SIZE_MAX: one past the highest address of a user. */
export const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

/** __access_ok(): all of it is in the user's half. */
export function isUserRange(addr: Addr, size: number): boolean {
  return addr + BigInt(size) <= TASK_SIZE_MAX;
}

/** copy_from_kernel_nofault_allowed(): neither the user's, nor the page behind, nor non-canonical. */
export function isKernelAddress(addr: Addr): boolean {
  const canonical = BigInt.asIntN(48, addr) === BigInt.asIntN(64, addr);
  return canonical && addr >= TASK_SIZE_MAX + 0x1000n;
}

/** High half of every address of kernel text, modules and trampolines. */
export const TEXT_HI = 0xffffffff;
/** High half of every task stack address (vmalloc space). */
export const STACK_HI = 0xffffc900;

/** __START_KERNEL_map + default physical start: where the image's text begins. */
export const IMAGE_BASE = 0xffffffff81000000n;
/** Address space of modules, with CONFIG_RANDOMIZE_BASE: 1008 MiB. */
export const MODULES_VADDR = 0xffffffffc0000000n;
export const MODULES_END = 0xffffffffff000000n;
/** VMALLOC_START without KASLR. */
export const VMALLOC_START = 0xffffc90000000000n;
/** PAGE_OFFSET without KASLR. */
export const PAGE_OFFSET = 0xffff888000000000n;

/** THREAD_SIZE: bytes of a task's stack. */
export const THREAD_SIZE = 0x4000;
/** Address space of one stack slot: an unmapped guard below, the stack above. Bytes. */
export const STACK_SLOT = 0x8000;
