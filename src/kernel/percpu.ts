// Per-CPU data: one copy of .data..percpu for each CPU, found by the per-CPU base of its context.
// Mirrors setup_per_cpu_areas(): a per-CPU symbol's value is its offset in the area.

import type { Addr } from '../guest/addr.ts';
import { type GuestMemory, PAGE_SIZE } from '../guest/memory.ts';
import type { Slab } from './slab.ts';

/** PERCPU_MODULE_RESERVE, bytes: for the variables of modules. */
const MODULE_RESERVE = 8 << 10;

export class PerCpu {
  /** Where the copy of each CPU begins. */
  readonly base: readonly Addr[];
  /** Where in each area the variables of modules go: an offset and a size in bytes. */
  readonly reserved: { readonly start: number; readonly size: number };
  readonly #mem: GuestMemory;
  readonly #symbols: ReadonlyMap<string, Addr>;
  /** Offsets of each CPU's copy in the guest's buffer, by symbol. */
  readonly #offsets = new Map<string, number[]>();

  /** @param symbols per-CPU symbol names and their offsets in the area. */
  constructor(
    mem: GuestMemory,
    slab: Slab,
    template: Uint8Array,
    cpus: number,
    symbols: ReadonlyMap<string, Addr>,
  ) {
    this.#mem = mem;
    this.#symbols = symbols;
    const start = pageAlign(template.length);
    this.reserved = { start, size: MODULE_RESERVE };
    this.base = Array.from({ length: cpus }, () => {
      // A variable may be aligned to a page, which large allocations are not.
      const area = slab.alloc(start + MODULE_RESERVE + PAGE_SIZE, 'percpu area');
      const base = area + BigInt(pageAlign(Number(area & 0xffff_ffffn)) - Number(area & 0xffff_ffffn));
      mem.writeBytes(base, template);
      return base;
    });
  }

  /** Address of a CPU's copy. @throws Error for a name that is no per-CPU symbol. */
  address(name: string, cpu: number): Addr {
    const offset = this.#symbols.get(name);
    if (offset === undefined) throw new Error(`${name} is not a per-CPU symbol`);
    return this.base[cpu] + offset;
  }

  #offset(name: string, cpu: number): number {
    let offsets = this.#offsets.get(name);
    if (!offsets) {
      offsets = this.base.map((_, id) => this.#mem.offsetOf(this.address(name, id), 8));
      this.#offsets.set(name, offsets);
    }
    return offsets[cpu];
  }

  readU64(name: string, cpu: number): bigint {
    return this.#mem.view64.getBigUint64(this.#offset(name, cpu), true);
  }
  writeU64(name: string, cpu: number, value: bigint): void {
    this.#mem.view64.setBigUint64(this.#offset(name, cpu), value, true);
  }
  readU32(name: string, cpu: number): number {
    return this.#mem.view64.getUint32(this.#offset(name, cpu), true);
  }
  writeU32(name: string, cpu: number, value: number): void {
    this.#mem.view64.setUint32(this.#offset(name, cpu), value, true);
  }
}

function pageAlign(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}
