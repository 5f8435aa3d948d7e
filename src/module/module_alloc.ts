// Address space for module text and data, and for whatever else needs executable memory near the kernel.
// Mirrors module_alloc() and module_memfree() of arch/x86/kernel/module.c over vmalloc's rules.
//
// Invariant: areas never touch; an unmapped guard page follows each one.

import { type Addr, MODULES_VADDR } from '../guest/addr.ts';
import { type GuestMemory, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../guest/memory.ts';

/** What the loader needs of it; ftrace trampolines and ITS thunks come from the same area. */
export interface ModuleArea {
  /** Zeroed pages, readable and writable; undefined when there is no room. Size in bytes. */
  alloc(size: number): Addr | undefined;
  free(base: Addr): void;
}

/** Where the first module of the reference machine is: what lies below belongs to earlier users. */
export const FIRST_MODULE = MODULES_VADDR + 0x201000n;
/** Bytes above FIRST_MODULE that are given out. */
export const MODULE_AREA = 64 << 20;

export class ModuleArena implements ModuleArea {
  readonly #mem: GuestMemory;
  readonly #start: Addr;
  readonly #end: Addr;
  /** Asked before each allocation: true makes it fail, as a full area would. */
  fault: ((size: number) => boolean) | undefined;
  /** Ascending by base. */
  readonly #areas: { readonly base: Addr; readonly size: number }[] = [];

  constructor(mem: GuestMemory, start: Addr = FIRST_MODULE, bytes: number = MODULE_AREA) {
    this.#mem = mem;
    this.#start = start;
    this.#end = start + BigInt(bytes);
  }

  alloc(size: number): Addr | undefined {
    const bytes = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
    if (this.fault?.(bytes)) return undefined;
    if (bytes === 0 || BigInt(bytes) > this.#end - this.#start) return undefined;
    let base = this.#start;
    let index = 0;
    for (; index < this.#areas.length; index++) {
      const area = this.#areas[index];
      if (base + BigInt(bytes + PAGE_SIZE) <= area.base) break;
      base = area.base + BigInt(area.size + PAGE_SIZE);
    }
    if (base + BigInt(bytes) > this.#end) return undefined;
    this.#mem.map(base, bytes, PROT_READ | PROT_WRITE);
    this.#areas.splice(index, 0, { base, size: bytes });
    return base;
  }

  free(base: Addr): void {
    const index = this.#areas.findIndex((a) => a.base === base);
    if (index < 0) throw new Error(`module_memfree of 0x${base.toString(16)}, which is not allocated`);
    this.#mem.unmap(base, this.#areas[index].size);
    this.#areas.splice(index, 1);
  }

  /** Bytes given out, guards not counted. */
  used(): number {
    return this.#areas.reduce((sum, a) => sum + a.size, 0);
  }
}
