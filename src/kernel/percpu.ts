// Per-CPU data: one copy of .data..percpu for each CPU, found by GS base.
// Mirrors arch/x86/kernel/setup_percpu.c: a per-CPU symbol's value is its offset in the area.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { Slab } from './slab.ts';

export class PerCpu {
  /** GS base of each CPU. */
  readonly base: readonly Addr[];
  readonly #mem: GuestMemory;
  readonly #symbols: ReadonlyMap<string, Addr>;

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
    this.base = Array.from({ length: cpus }, () => {
      const area = slab.alloc(Math.max(template.length, 4096), 'percpu area');
      mem.writeBytes(area, template);
      return area;
    });
  }

  /** Address of a CPU's copy. @throws Error for a name that is no per-CPU symbol. */
  address(name: string, cpu: number): Addr {
    const offset = this.#symbols.get(name);
    if (offset === undefined) throw new Error(`${name} is not a per-CPU symbol`);
    return this.base[cpu] + offset;
  }

  readU64(name: string, cpu: number): bigint {
    return this.#mem.readU64(this.address(name, cpu));
  }
  writeU64(name: string, cpu: number, value: bigint): void {
    this.#mem.writeU64(this.address(name, cpu), value);
  }
  readU32(name: string, cpu: number): number {
    return this.#mem.readU32(this.address(name, cpu));
  }
  writeU32(name: string, cpu: number, value: number): void {
    this.#mem.writeU32(this.address(name, cpu), value);
  }
}
