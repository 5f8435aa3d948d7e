// Which modules there are, who uses whom, and which one an address belongs to.
// Mirrors the module list, find_module(), ref_module(), module_put() and __module_address() of
// kernel/module/main.c.
//
// Invariant: an UNFORMED module is in the list, so that its name is taken, but is found by no look-up.

import { type Addr, lo32 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { initListHead, listAdd, listDelRcu } from '../kernel/list.ts';
import { type Errno, errnoOf } from './error.ts';
import type { Region } from './layout.ts';
import { MODULE_REF_BASE, type Module } from './module.ts';

export class ModuleList {
  readonly #core: KernelCore;
  readonly #module: Structs['module']['fields'];
  /** Oldest first. */
  readonly #modules = new Set<Module>();
  readonly #byName = new Map<string, Module>();
  readonly #byAddr = new Map<Addr, Module>();
  /** mod_tree: modules by the pages that their parts lie on. No two share one. */
  readonly #byPage = new Map<number, Module>();
  /** Name and taint letters of the last one that was removed, for an oops. */
  lastUnloaded: { readonly name: string; readonly flags: string } | undefined;

  constructor(core: KernelCore) {
    this.#core = core;
    this.#module = core.kernel.structs.module.fields;
  }

  /** Every module, UNFORMED ones too, newest first. */
  get all(): readonly Module[] {
    return [...this.#modules].reverse();
  }

  /** Modules that are formed, newest first: what /proc/modules lists. */
  get visible(): readonly Module[] {
    return this.all.filter((m) => m.state !== 'UNFORMED');
  }

  /** find_module_all() */
  find(name: string, evenUnformed = false): Module | undefined {
    const mod = this.#byName.get(name);
    return mod && (evenUnformed || mod.state !== 'UNFORMED') ? mod : undefined;
  }

  /** By the address of its struct module, in any state. */
  byAddr(addr: Addr): Module | undefined {
    return this.#byAddr.get(addr);
  }

  /** __module_address() */
  moduleAddress(addr: Addr): Module | undefined {
    const mod = this.#byPage.get(pageOf(addr));
    return mod?.contains(addr) && mod.state !== 'UNFORMED' ? mod : undefined;
  }

  /** __module_text_address() */
  moduleTextAddress(addr: Addr): Module | undefined {
    const mod = this.#byPage.get(pageOf(addr));
    return mod?.containsText(addr) && mod.state !== 'UNFORMED' ? mod : undefined;
  }

  add(mod: Module): void {
    this.#modules.add(mod);
    this.#byName.set(mod.name, mod);
    this.#byAddr.set(mod.addr, mod);
    this.#addPages(mod, 'core');
    this.#addPages(mod, 'init');
    this.#link(mod);
  }

  #addPages(mod: Module, region: Region): void {
    const size = mod.size(region);
    if (size === 0) return;
    const last = pageOf(mod.base(region) + BigInt(size - 1));
    for (let page = pageOf(mod.base(region)); page <= last; page++) this.#byPage.set(page, mod);
  }

  /** mod_tree_remove_init(): the init part is about to go. */
  removeInit(mod: Module): void {
    this.#removePages(mod, 'init');
  }

  #removePages(mod: Module, region: Region): void {
    const size = mod.size(region);
    if (size === 0) return;
    const last = pageOf(mod.base(region) + BigInt(size - 1));
    for (let page = pageOf(mod.base(region)); page <= last; page++) {
      if (this.#byPage.get(page) === mod) this.#byPage.delete(page);
    }
  }

  remove(mod: Module): void {
    if (!this.#modules.delete(mod)) return;
    this.#byName.delete(mod.name);
    this.#byAddr.delete(mod.addr);
    this.#removePages(mod, 'init');
    this.#removePages(mod, 'core');
    listDelRcu(this.#core, mod.addr + BigInt(this.#module.list));
  }

  /** Into the image's `modules` list, when it has one. */
  #link(mod: Module): void {
    const { symbols } = this.#core;
    const node = mod.addr + BigInt(this.#module.list);
    const head = symbols.matches('modules', undefined)[0]?.addr;
    if (head === undefined) initListHead(this.#core, node);
    else listAdd(this.#core, node, head);
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

/** All module memory has the same high half. */
const pageOf = (addr: Addr): number => lo32(addr) >>> 12;

/** -errno as the kernel's functions return it. */
export function neg(code: Errno): number {
  return -errnoOf(code);
}
