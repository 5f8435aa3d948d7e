// Shadow variables, looked at from outside. Mirrors the data of kernel/livepatch/shadow.c; the functions are
// guest code, in asm/x86_64/shadow.s.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';

/** hash_64() of include/linux/hash.h */
const GOLDEN_RATIO_64 = 0x61c8864680b583ebn;

interface Shadow {
  readonly obj: Addr;
  readonly id: bigint;
  readonly data: Addr;
}

export class ShadowVariables {
  readonly #core: KernelCore;

  constructor(core: KernelCore) {
    this.#core = core;
  }

  /** klp_shadow_get(): address of the data; 0 for none. */
  get(obj: Addr, id: bigint): Addr {
    const bucket = Number(
      BigInt.asUintN(64, obj * GOLDEN_RATIO_64) >>
        BigInt(64 - this.#core.kernel.constants.KLP_SHADOW_HASH_BITS),
    );
    for (const shadow of this.#chain(bucket)) if (shadow.obj === obj && shadow.id === id) return shadow.data;
    return 0n;
  }

  /** All there are, in the order of the table. */
  list(): Shadow[] {
    const buckets = 1 << this.#core.kernel.constants.KLP_SHADOW_HASH_BITS;
    return Array.from({ length: buckets }, (_, i) => [...this.#chain(i)]).flat();
  }

  *#chain(bucket: number): IterableIterator<Shadow> {
    const { mem, symbols, kernel } = this.#core;
    const { node_next, obj: objAt, id, data } = kernel.structs.klp_shadow.fields;
    let at = mem.readU64(symbols.require('klp_shadow_hash') + BigInt(8 * bucket));
    for (; at !== 0n; at = mem.readU64(at + BigInt(node_next))) {
      const obj = mem.readU64(at + BigInt(objAt));
      yield { obj, id: mem.readU64(at + BigInt(id)), data: at + BigInt(data) };
    }
  }
}
