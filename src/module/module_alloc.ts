// Address space for module text and data, and for whatever else needs executable memory near the kernel.
// Mirrors module_alloc() and module_memfree() of arch/x86/kernel/module.c over vmalloc's rules.
//
// Invariant: areas never touch; an unmapped guard page follows each one.

import { type Addr, MODULES_END, MODULES_VADDR } from '../guest/addr.ts';
import { type GuestMemory, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';

/** What the loader needs of it; ftrace trampolines and ITS thunks come from the same area. */
export interface ModuleArea {
  /** Zeroed pages, readable and writable; undefined when there is no room. Size in bytes. */
  alloc(size: number): Addr | undefined;
  free(base: Addr): void;
}

/** Where the first module of the reference machine is: what lies below belongs to earlier users. */
export const FIRST_MODULE = MODULES_VADDR + 0x201000n;
/** Bytes from FIRST_MODULE to MODULES_END: what the kernel has for modules. */
export const MODULE_AREA = Number(MODULES_END - FIRST_MODULE);

/** What alloc_vmap_area() and __vmalloc_node_range() say when there is no room; no stack and no memory report follow. */
function warnVmalloc({ printk, current, here }: KernelCore, size: number): void {
  const withGuard = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE + PAGE_SIZE;
  printk.warn(`vmap allocation for size ${withGuard} failed: use vmalloc=<size> to increase size`);
  const allocation = 'mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0';
  const what = `vmalloc error: size ${size}, vm_struct allocation failed`;
  printk.warn(`${current(here()).comm}: ${what}, ${allocation}`);
}

/** Address space that nobody has, [base, end): the next allocation begins at its base. */
interface Gap {
  readonly base: number;
  readonly end: number;
}

export class ModuleArena implements ModuleArea {
  readonly #mem: GuestMemory;
  readonly #start: Addr;
  readonly #kernel: KernelCore | undefined;
  /** Bytes of each area, by its offset from the start. */
  readonly #areas = new Map<number, number>();
  /** Ascending; no two touch. Offsets from the start; behind the last area its guard may lie outside. */
  readonly #gaps: Gap[];
  #used = 0;

  /** @param kernel whose log says that the area is full, and that can make an allocation fail; none for bare memory. */
  constructor(
    mem: GuestMemory,
    start: Addr = FIRST_MODULE,
    bytes: number = MODULE_AREA,
    kernel: KernelCore | undefined = undefined,
  ) {
    this.#mem = mem;
    this.#kernel = kernel;
    this.#start = start;
    this.#gaps = [{ base: 0, end: bytes + PAGE_SIZE }];
  }

  alloc(size: number): Addr | undefined {
    const bytes = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
    if ((this.#kernel?.faults.check('module_alloc', `${bytes} bytes`) ?? 0) !== 0) return undefined;
    if (bytes === 0) return undefined;
    const taken = bytes + PAGE_SIZE;
    const index = this.#gaps.findIndex(({ base, end }) => base + taken <= end);
    if (index < 0) {
      if (this.#kernel) warnVmalloc(this.#kernel, size);
      return undefined;
    }
    const { base, end } = this.#gaps[index];
    this.#gaps.splice(index, 1, ...(base + taken < end ? [{ base: base + taken, end }] : []));
    this.#areas.set(base, bytes);
    this.#used += bytes;
    const addr = this.#start + BigInt(base);
    this.#mem.map(addr, bytes, PROT_READ | PROT_WRITE);
    return addr;
  }

  free(addr: Addr): void {
    const base = Number(addr - this.#start);
    const bytes = this.#areas.get(base);
    if (bytes === undefined)
      throw new Error(`module_memfree of 0x${addr.toString(16)}, which is not allocated`);
    this.#mem.unmap(addr, bytes);
    this.#areas.delete(base);
    this.#used -= bytes;
    this.#addGap(base, base + bytes + PAGE_SIZE);
  }

  /** With the gaps on both sides, where they touch. */
  #addGap(base: number, end: number): void {
    const gaps = this.#gaps;
    const at = gaps.findIndex((gap) => gap.base >= end);
    const next = at < 0 ? gaps.length : at;
    const before = gaps[next - 1]?.end === base ? gaps[next - 1] : undefined;
    const after = gaps[next]?.base === end ? gaps[next] : undefined;
    const merged = { base: before?.base ?? base, end: after?.end ?? end };
    gaps.splice(before ? next - 1 : next, Number(before !== undefined) + Number(after !== undefined), merged);
  }

  /** Bytes given out, guards not counted. */
  used(): number {
    return this.#used;
  }
}
