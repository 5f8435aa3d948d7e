// Per-CPU data: one copy of .data..percpu for each CPU, found by the per-CPU base of its context.
// Mirrors setup_per_cpu_areas(): a per-CPU symbol's value is its offset in the area, or where the image has the first copy.

import type { Addr } from '../guest/addr.ts';
import { type GuestMemory, PAGE_SIZE } from '../guest/memory.ts';
import type { Slab } from './slab.ts';

/** PERCPU_MODULE_RESERVE, bytes: for the variables of modules. */
const MODULE_RESERVE = 8 << 10;

export class PerCpu {
  /** What is to be added to a per-CPU symbol's value for each CPU: the base of its gs. */
  readonly base: readonly Addr[];
  /** Where the variables of modules go: the value of a symbol there, and a size in bytes. */
  readonly reserved: { readonly start: Addr; readonly size: number };
  /** Behind it, where alloc_percpu() of a real kernel finds room. */
  readonly dynamic: { readonly start: Addr; readonly size: number };
  readonly #mem: GuestMemory;
  readonly #symbols: ReadonlyMap<string, Addr>;
  /** Offsets of each CPU's copy in the guest's buffer, by symbol. */
  readonly #offsets = new Map<string, number[]>();

  /**
   * @param symbols values of per-CPU symbols by name
   * @param dynamic bytes for alloc_percpu()
   * @param linkedAt value of a symbol at the beginning of an area: 0 up to 6.14, an address in the image from then on
   */
  constructor(
    mem: GuestMemory,
    slab: Slab,
    template: Uint8Array,
    cpus: number,
    symbols: ReadonlyMap<string, Addr>,
    linkedAt = 0n,
    dynamic = 0,
  ) {
    this.#mem = mem;
    this.#symbols = symbols;
    const start = pageAlign(template.length);
    this.reserved = { start: linkedAt + BigInt(start), size: MODULE_RESERVE };
    this.dynamic = { start: linkedAt + BigInt(start + MODULE_RESERVE), size: dynamic };
    this.base = Array.from({ length: cpus }, () => {
      // A variable may be aligned to a page, which large allocations are not.
      const area = slab.alloc(start + MODULE_RESERVE + dynamic + PAGE_SIZE, 'percpu area');
      const base = area + BigInt(pageAlign(Number(area & 0xffff_ffffn)) - Number(area & 0xffff_ffffn));
      mem.writeBytes(base, template);
      return BigInt.asUintN(64, base - linkedAt);
    });
  }

  /** Address of a CPU's copy. @throws Error for a name that is no per-CPU symbol. */
  address(name: string, cpu: number): Addr {
    const offset = this.#symbols.get(name);
    if (offset === undefined) throw new Error(`${name} is not a per-CPU symbol`);
    return BigInt.asUintN(64, this.base[cpu] + offset);
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
  /** @param behind bytes behind the symbol */
  readU32(name: string, cpu: number, behind = 0): number {
    return this.#mem.view64.getUint32(this.#offset(name, cpu) + behind, true);
  }
  writeU32(name: string, cpu: number, value: number, behind = 0): void {
    this.#mem.view64.setUint32(this.#offset(name, cpu) + behind, value, true);
  }
}

function pageAlign(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}
