// What struct module says of a module's memory: for the core that stays and the init part that goes, where it is and how
// large. Mirrors struct module_layout of include/linux/module.h up to 6.3, and struct module_memory from 6.4 on.
//
// The loader has each part in one piece, whichever of the two a kernel has: text, read-only data, what is read-only after
// init, writable data, in this order.

import type { Addr } from '../guest/addr.ts';
import type { StructHome } from '../kernel/struct_home.ts';
import type { Region, RegionLayout } from './layout.ts';

export interface ModuleMemory {
  base(region: Region): Addr;
  size(region: Region): number;
  textSize(region: Region): number;
  write(region: Region, base: Addr, layout: RegionLayout): void;
}

/** @param addr of the struct module */
export function moduleMemory(home: StructHome, addr: Addr): ModuleMemory {
  const { fields } = home.kernel.structs.module;
  return fields.mem === undefined ? new CoreAndInit(home, addr) : new ByKind(home, addr);
}

class CoreAndInit implements ModuleMemory {
  readonly #mem: StructHome['mem'];
  readonly #fields: StructHome['kernel']['structs']['module']['fields'];
  readonly #addr: Addr;

  constructor({ mem, kernel }: StructHome, addr: Addr) {
    this.#mem = mem;
    this.#fields = kernel.structs.module.fields;
    this.#addr = addr;
  }

  #at(offset: number): Addr {
    return this.#addr + BigInt(offset);
  }

  base(region: Region): Addr {
    return this.#mem.readU64(this.#at(this.#fields[`${region}_layout_base`]));
  }

  size(region: Region): number {
    return this.#mem.readU32(this.#at(this.#fields[`${region}_layout_size`]));
  }

  textSize(region: Region): number {
    return this.#mem.readU32(this.#at(this.#fields[`${region}_layout_text_size`]));
  }

  write(region: Region, base: Addr, layout: RegionLayout): void {
    const write32 = (offset: number, value: number): void => this.#mem.writeU32(this.#at(offset), value);
    this.#mem.writeU64(this.#at(this.#fields[`${region}_layout_base`]), base);
    write32(this.#fields[`${region}_layout_size`], layout.size);
    write32(this.#fields[`${region}_layout_text_size`], layout.textSize);
    write32(this.#fields[`${region}_layout_ro_size`], layout.roSize);
    write32(this.#fields[`${region}_layout_ro_after_init_size`], layout.roAfterInitSize);
  }
}

/** enum mod_mem_type, in the order in which the loader lays them out. */
const KINDS: Readonly<Record<Region, readonly number[]>> = { core: [0, 2, 3, 1], init: [4, 6, 5] };
const [MOD_TEXT, MOD_INIT_TEXT] = [KINDS.core[0], KINDS.init[0]];

class ByKind implements ModuleMemory {
  readonly #mem: StructHome['mem'];
  readonly #first: Addr;
  readonly #row: { readonly size: number; readonly fields: { readonly base: number; readonly size: number } };

  constructor({ mem, kernel }: StructHome, addr: Addr) {
    const { module, module_memory } = kernel.structs;
    if (module.fields.mem === undefined || module_memory === undefined)
      throw new Error(`kernel ${kernel.release} has no memory by kinds in its modules`);
    this.#mem = mem;
    this.#first = addr + BigInt(module.fields.mem);
    this.#row = module_memory;
  }

  #at(kind: number, member: 'base' | 'size'): Addr {
    return this.#first + BigInt(kind * this.#row.size + this.#row.fields[member]);
  }

  base(region: Region): Addr {
    return this.#mem.readU64(this.#at(KINDS[region][0], 'base'));
  }

  size(region: Region): number {
    return KINDS[region].reduce((sum, kind) => sum + this.#mem.readU32(this.#at(kind, 'size')), 0);
  }

  textSize(region: Region): number {
    return this.#mem.readU32(this.#at(region === 'core' ? MOD_TEXT : MOD_INIT_TEXT, 'size'));
  }

  write(region: Region, base: Addr, { size, textSize, roSize, roAfterInitSize }: RegionLayout): void {
    const ends = region === 'core' ? [textSize, roSize, roAfterInitSize, size] : [textSize, roSize, size];
    ends.forEach((end, i) => {
      const start = i === 0 ? 0 : ends[i - 1];
      // What there is nothing of has no address; text has, by which the region is found.
      const at = i === 0 || end > start ? base + BigInt(base === 0n ? 0 : start) : 0n;
      this.#mem.writeU64(this.#at(KINDS[region][i], 'base'), at);
      this.#mem.writeU32(this.#at(KINDS[region][i], 'size'), end - start);
    });
  }
}
