// Shadow variables, looked at from outside. Mirrors the data of kernel/livepatch/shadow.c; the functions are
// guest code, in asm/x86_64/shadow.s.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';

/** struct klp_shadow, private to kernel/livepatch/shadow.c: offsets in bytes, as in asm/x86_64/shadow.s. */
const KLP_SHADOW = { next: 0n, obj: 32n, id: 40n, data: 48n } as const;
/** Buckets of klp_shadow_hash. */
const BUCKETS = 1 << 12;
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
    const bucket = Number(BigInt.asUintN(64, obj * GOLDEN_RATIO_64) >> 52n);
    for (const shadow of this.#chain(bucket)) if (shadow.obj === obj && shadow.id === id) return shadow.data;
    return 0n;
  }

  /** All there are, in the order of the table. */
  list(): Shadow[] {
    return Array.from({ length: BUCKETS }, (_, i) => [...this.#chain(i)]).flat();
  }

  *#chain(bucket: number): IterableIterator<Shadow> {
    const { mem, symbols } = this.#core;
    let at = mem.readU64(symbols.require('klp_shadow_hash') + BigInt(8 * bucket));
    for (; at !== 0n; at = mem.readU64(at + KLP_SHADOW.next)) {
      const obj = mem.readU64(at + KLP_SHADOW.obj);
      yield { obj, id: mem.readU64(at + KLP_SHADOW.id), data: at + KLP_SHADOW.data };
    }
  }
}
