// Kobjects of ours behind a real kernel: its own kobject_add(), kobject_del() and kobject_put() do what there is to do, and
// tell us by release() of their type. Mirrors how lib/kobject.c is called, and struct kobj_type.
//
// Invariant: what is in our tree of sysfs by a kobject is in the kernel's own kernfs, too.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from './core.ts';
import type { SysfsDir } from './sysfs.ts';
import { UAPI } from './uapi.ts';

export class RealKobjects {
  readonly #core: KernelCore;
  readonly #kobjs = new Map<SysfsDir, Addr>();
  /** Of all of ours. */
  #type: Addr = 0n;
  /** "%s" */
  #format: Addr = 0n;

  constructor(core: KernelCore) {
    this.#core = core;
  }

  standsFor(dir: SysfsDir, kobj: Addr): void {
    this.#kobjs.set(dir, kobj);
  }

  kobjOf(parent: Addr | SysfsDir): Addr | undefined {
    return typeof parent === 'bigint' ? parent : this.#kobjs.get(parent);
  }

  init(kobj: Addr): void {
    const { mem, kernel } = this.#core;
    mem.writeU64(kobj + BigInt(kernel.structs.kobject.fields.ktype), this.#ktype());
  }

  #ktype(): Addr {
    if (this.#type !== 0n) return this.#type;
    const { mem, slab, kernel, symbols } = this.#core;
    const { size, fields } = kernel.structs.kobj_type;
    this.#type = slab.alloc(size, 'kobj_type');
    mem.writeU64(this.#type + BigInt(fields.release), symbols.require('klp_kobj_release'));
    mem.writeU64(this.#type + BigInt(fields.sysfs_ops), symbols.require('kobj_sysfs_ops'));
    return this.#type;
  }

  /** @returns 0 or -errno */
  *add(kobj: Addr, parent: Addr, name: string): HostGenerator<number> {
    const { mem, slab, symbols } = this.#core;
    if (this.#format === 0n) {
      this.#format = slab.alloc(3, 'format');
      mem.writeCString(this.#format, '%s');
    }
    const text = slab.tryAlloc(name.length + 1, 'kobject name');
    if (text === 0n) return -UAPI.ENOMEM;
    mem.writeCString(text, name);
    const ret = yield { call: symbols.require('kobject_add'), args: [kobj, parent, this.#format, text] };
    slab.free(text);
    return Number(BigInt.asIntN(32, ret));
  }

  *del(kobj: Addr): HostGenerator<void> {
    yield { call: this.#core.symbols.require('kobject_del'), args: [kobj] };
  }

  *put(kobj: Addr): HostGenerator<void> {
    yield { call: this.#core.symbols.require('kobject_put'), args: [kobj] };
  }
}
