// alloc_percpu() of a real kernel: a piece at one offset of every CPU's area. First fit. Mirrors pcpu_alloc() and
// free_percpu() of mm/percpu.c, with one chunk.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction } from '../guest/hostcall.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';

interface Piece {
  /** Bytes from where the chunk begins, which is a page's beginning. */
  readonly start: number;
  readonly size: number;
}

export class PerCpuAlloc {
  readonly #core: KernelCore;
  /** By start. */
  readonly #used: Piece[] = [];

  constructor(core: KernelCore) {
    this.#core = core;
    core.host.keeps('percpu pieces', this);
  }

  keep(): readonly Piece[] {
    return this.#used;
  }
  restore(kept: readonly Piece[]): void {
    this.#used.splice(0, this.#used.length, ...kept);
  }

  hostFunctions(): Record<string, HostFunction> {
    return {
      // (size, align, reserved, gfp)
      pcpu_alloc: ({ args: [size, align] }) => this.#alloc(Number(size), Number(align)),
      free_percpu: ({ args: [at] }) => this.#free(at),
    };
  }

  #alloc(size: number, align: number): Addr {
    const { mem, percpu, printk, faults } = this.#core;
    const isBad =
      size === 0 || size > percpu.dynamic.size || align > PAGE_SIZE || (align & (align - 1)) !== 0;
    if (isBad) {
      printk.warn(`illegal size (${size}) or align (${align}) for percpu allocation`);
      return 0n;
    }
    if (faults.check('kmalloc', 'percpu') !== 0) return 0n;
    const place = this.#place(size, align);
    if (place === undefined) {
      printk.warn(
        `percpu: allocation failed, size=${size} align=${align} atomic=0, failed to allocate new chunk`,
      );
      return 0n;
    }
    this.#used.splice(place.index, 0, { start: place.start, size });
    const pointer = percpu.dynamic.start + BigInt(place.start);
    for (const base of percpu.base) mem.fill(BigInt.asUintN(64, base + pointer), size, 0);
    return pointer;
  }

  #place(size: number, align: number): { start: number; index: number } | undefined {
    let start = 0;
    for (let index = 0; index <= this.#used.length; index++) {
      const next = this.#used[index];
      if (start + size <= (next?.start ?? this.#core.percpu.dynamic.size)) return { start, index };
      if (next) start = Math.ceil((next.start + next.size) / align) * align;
    }
    return undefined;
  }

  #free(at: Addr): void {
    if (at === 0n) return;
    const start = Number(at - this.#core.percpu.dynamic.start);
    const index = this.#used.findIndex((piece) => piece.start === start);
    if (index >= 0) this.#used.splice(index, 1);
  }
}
