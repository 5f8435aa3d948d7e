// Room for the per-CPU variables of modules, in the part that each CPU's area keeps for them: the code of a module
// reaches them by an offset in 32 bits, as it does the kernel's own. First fit.
// Mirrors pcpu_alloc() of mm/percpu.c for the reserved chunk, and percpu_modcopy() of kernel/module/main.c.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { ModulePerCpu } from './ports.ts';

interface Range {
  /** Offset in each CPU's area. */
  readonly start: number;
  readonly size: number;
  readonly owner: string;
}

export class ReservedChunk implements ModulePerCpu {
  readonly #core: Pick<KernelCore, 'mem' | 'percpu' | 'printk' | 'faults'>;
  /** By start. */
  #used: Range[] = [];

  constructor(core: Pick<KernelCore, 'mem' | 'percpu' | 'printk' | 'faults'>) {
    this.#core = core;
  }

  /** @param align a power of two, a page at most. */
  alloc(size: number, align: number, owner: string): Addr | undefined {
    if (this.#core.faults.check('kmalloc', owner) !== 0) return undefined;
    const { reserved } = this.#core.percpu;
    // The chunk begins a page, and no alignment is larger than one.
    const end = reserved.size;
    let start = 0;
    let index = 0;
    for (; index < this.#used.length && start + size > this.#used[index].start; index++) {
      const { start: from, size: bytes } = this.#used[index];
      start = roundUp(Math.max(start, from + bytes), align);
    }
    if (start + size > end) {
      const what = `size=${size} align=${align} atomic=0`;
      this.#core.printk.warn(`percpu: allocation failed, ${what}, alloc from reserved chunk failed`);
      return undefined;
    }
    this.#used.splice(index, 0, { start, size, owner });
    return reserved.start + BigInt(start);
  }

  free(offset: Addr): void {
    const { reserved } = this.#core.percpu;
    this.#used = this.#used.filter((range) => reserved.start + BigInt(range.start) !== offset);
  }

  /** Whose variables are there, by place. */
  owners(): string[] {
    return this.#used.map(({ owner }) => owner);
  }

  copy(offset: Addr, bytes: Uint8Array): void {
    for (const base of this.#core.percpu.base)
      this.#core.mem.writeBytes(BigInt.asUintN(64, base + offset), bytes);
  }
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
