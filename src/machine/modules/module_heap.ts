// What a module leaves on the heap when it goes, and whose it is then. It has no counterpart in the kernel.

import type { Livepatch } from '../../livepatch/core.ts';
import type { Kmalloc } from '../../mm/kmalloc.ts';
import type { Module } from '../../module/module.ts';
import type { ModuleList } from '../../module/modules.ts';

export class ModuleHeap {
  readonly #mm: Kmalloc;
  readonly #modules: ModuleList;
  readonly #livepatch: Livepatch;
  /** Names of the objects that a livepatch module patches. */
  readonly #patched = new Map<Module, string[]>();

  constructor(mm: Kmalloc, modules: ModuleList, livepatch: Livepatch) {
    this.#mm = mm;
    this.#modules = modules;
    this.#livepatch = livepatch;
  }

  live(mod: Module): void {
    const patch = this.#livepatch.patches().find((p) => p.mod === mod.addr);
    if (!patch) return;
    const names = patch.objects().map((object) => object.displayName);
    this.#patched.set(mod, names);
  }

  /** Its exit function has run: what it still has, nobody will free. */
  going(mod: Module): void {
    this.#mm.moduleGone(mod.name, this.#heir(mod));
  }

  /** Whose code goes on with what a livepatch's functions allocated: an object that it patched. */
  #heir(mod: Module): string | undefined {
    const objects = mod.patches ? [mod.patches] : (this.#patched.get(mod) ?? []);
    this.#patched.delete(mod);
    return objects.find((name) => this.#modules.find(name)) ?? objects.find((name) => name === 'vmlinux');
  }
}
