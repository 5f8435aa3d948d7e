// Shadow variables: data that a patch hangs on an existing structure, found by its address and an
// identifier. Mirrors kernel/livepatch/shadow.c.
//
// Invariant: at most one variable for each <obj, id>. Constructors and destructors are guest code that
// runs under klp_shadow_lock, one at a time.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';

interface Shadow {
  readonly obj: Addr;
  readonly id: bigint;
  readonly data: Addr;
}

const key = (obj: Addr, id: bigint): string => `${obj}:${id}`;
const hex = (value: bigint): string => value.toString(16);

export class ShadowVariables {
  readonly #core: KernelCore;
  readonly #variables = new Map<string, Shadow>();
  /** klp_shadow_lock */
  #locked = false;

  constructor(core: KernelCore) {
    this.#core = core;
    core.host.defineAll({
      klp_shadow_get: ({ args }) => this.get(args[0], args[1]),
      klp_shadow_alloc: ({ args }) => this.#getOrAlloc(args, true),
      klp_shadow_get_or_alloc: ({ args }) => this.#getOrAlloc(args, false),
      klp_shadow_free: ({ args }) => this.#free(args[0], args[1], args[2]),
      klp_shadow_free_all: ({ args }) => this.#freeAll(args[0], args[1]),
    });
  }

  /** klp_shadow_get(): address of the data; 0 for none. */
  get(obj: Addr, id: bigint): Addr {
    return this.#variables.get(key(obj, id))?.data ?? 0n;
  }

  /** Live variables, for leak reports. */
  list(): Shadow[] {
    return [...this.#variables.values()];
  }

  /** args: obj, id, size, gfp_flags, ctor, ctor_data. */
  *#getOrAlloc(args: readonly bigint[], warnOnExist: boolean): HostGenerator<Addr> {
    const [obj, id, size, , ctor, ctorData] = args;
    const { slab, printk } = this.#core;
    yield* this.#lock();
    const existing = this.get(obj, id);
    if (existing !== 0n) {
      this.#locked = false;
      if (!warnOnExist) return existing;
      printk.warn(`Duplicate shadow variable <${hex(obj)}, ${hex(id)}>`);
      return 0n;
    }
    const data = slab.alloc(Number(size), 'klp_shadow');
    const err = ctor === 0n ? 0 : yield* this.#guest(ctor, [obj, data, ctorData]);
    if (err === 0) this.#variables.set(key(obj, id), { obj, id, data });
    this.#locked = false;
    if (err === 0) return data;
    slab.free(data);
    printk.err(`livepatch: Failed to construct shadow variable <${hex(obj)}, ${hex(id)}> (${err})`);
    return 0n;
  }

  *#free(obj: Addr, id: bigint, dtor: Addr): HostGenerator<void> {
    yield* this.#lock();
    const shadow = this.#variables.get(key(obj, id));
    if (shadow) yield* this.#freeStruct(shadow, dtor);
    this.#locked = false;
  }

  *#freeAll(id: bigint, dtor: Addr): HostGenerator<void> {
    yield* this.#lock();
    for (const shadow of this.list()) if (shadow.id === id) yield* this.#freeStruct(shadow, dtor);
    this.#locked = false;
  }

  *#freeStruct(shadow: Shadow, dtor: Addr): HostGenerator<void> {
    this.#variables.delete(key(shadow.obj, shadow.id));
    if (dtor !== 0n) yield* this.#guest(dtor, [shadow.obj, shadow.data]);
    this.#core.slab.free(shadow.data);
  }

  *#guest(fn: Addr, args: readonly bigint[]): HostGenerator<number> {
    return Number(BigInt.asIntN(32, yield { call: fn, args }));
  }

  *#lock(): HostGenerator<void> {
    while (this.#locked) yield { relax: true };
    this.#locked = true;
  }
}
