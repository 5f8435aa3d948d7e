// Which modules there are, who uses whom, and which one an address belongs to.
// Mirrors the module list, find_module(), ref_module(), module_put() and __module_address() of
// kernel/module/main.c.
//
// Invariant: an UNFORMED module is in the list, so that its name is taken, but is found by no look-up.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { LAYOUT } from '../kernel/layout.ts';
import { initListHead, listAdd, listDelRcu } from '../kernel/list.ts';
import { type Errno, errnoOf } from './error.ts';
import { MODULE_REF_BASE, type Module } from './module.ts';

const F = LAYOUT.module.fields;

export class ModuleList {
  readonly #core: KernelCore;
  /** Newest first, as the kernel's list. */
  readonly #modules: Module[] = [];
  /** Name and taint letters of the last one that was removed, for an oops. */
  lastUnloaded: { readonly name: string; readonly flags: string } | undefined;

  constructor(core: KernelCore) {
    this.#core = core;
  }

  /** Every module, UNFORMED ones too, newest first. */
  get all(): readonly Module[] {
    return this.#modules;
  }

  /** Modules that are formed, newest first: what /proc/modules lists. */
  get visible(): readonly Module[] {
    return this.#modules.filter((m) => m.state !== 'UNFORMED');
  }

  /** find_module_all() */
  find(name: string, evenUnformed = false): Module | undefined {
    return this.#modules.find((m) => m.name === name && (evenUnformed || m.state !== 'UNFORMED'));
  }

  /** By the address of its struct module, in any state. */
  byAddr(addr: Addr): Module | undefined {
    return this.#modules.find((m) => m.addr === addr);
  }

  /** __module_address() */
  moduleAddress(addr: Addr): Module | undefined {
    return this.#modules.find((m) => m.contains(addr) && m.state !== 'UNFORMED');
  }

  /** __module_text_address() */
  moduleTextAddress(addr: Addr): Module | undefined {
    return this.#modules.find((m) => m.containsText(addr) && m.state !== 'UNFORMED');
  }

  add(mod: Module): void {
    this.#modules.unshift(mod);
    this.#link(mod);
  }

  remove(mod: Module): void {
    const index = this.#modules.indexOf(mod);
    if (index < 0) return;
    this.#modules.splice(index, 1);
    listDelRcu(this.#core.mem, mod.addr + BigInt(F.list));
  }

  /** Into the image's `modules` list, when it has one. */
  #link(mod: Module): void {
    const { mem, symbols } = this.#core;
    const node = mod.addr + BigInt(F.list);
    const head = symbols.lookupName('modules');
    if (head === undefined) initListHead(mem, node);
    else listAdd(mem, node, head);
  }

  /** try_module_get(): false once the module is going. */
  tryGet(mod: Module): boolean {
    if (mod.state === 'GOING' || mod.refcnt === 0) return false;
    mod.refcnt++;
    return true;
  }

  /** strong_try_module_get(): a module that is still loading is busy. 0 or -errno. */
  strongTryGet(mod: Module): number {
    if (mod.state === 'COMING') return neg('EBUSY');
    return this.tryGet(mod) ? 0 : neg('ENOENT');
  }

  /** module_put() */
  put(mod: Module): void {
    if (mod.refcnt > 0) mod.refcnt--;
    else this.#core.printk.warn(`WARNING: module_put of ${mod.name}, which has no references`);
  }

  /** ref_module(): `user` holds one reference, however many symbols it takes. 0 or -errno. */
  ref(user: Module, used: Module): number {
    // A bundle's member goes before its object does: it does not keep it.
    if (used === user || used.users.has(user) || user.patches === used.name) return 0;
    const err = this.strongTryGet(used);
    if (err !== 0) return err;
    used.users.add(user);
    user.uses.add(used);
    return 0;
  }

  /** module_unload_free(): gives up every reference that the module holds. */
  unrefAll(user: Module): void {
    for (const used of user.uses) {
      used.users.delete(user);
      this.put(used);
    }
    user.uses.clear();
  }

  /** try_release_module_ref(): takes the loader's own reference; false when others remain. */
  tryRelease(mod: Module): boolean {
    mod.refcnt -= MODULE_REF_BASE;
    if (mod.refcnt === 0) return true;
    mod.refcnt += MODULE_REF_BASE;
    return false;
  }
}

/** -errno as the kernel's functions return it. */
export function neg(code: Errno): number {
  return -errnoOf(code);
}
