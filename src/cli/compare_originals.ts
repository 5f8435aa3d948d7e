// Original code of modules for which a patch is enabled: where it lies, and how much of it was executed.
//
// Invariant: what a task executes before it has switched, in a module that was there when the patch was enabled, is
// not counted: that is what a transition is. A module that came after the patch was enabled has no such excuse.

import { lo32 } from '../guest/addr.ts';
import type { Machine } from '../machine/machine.ts';
import type { Module } from '../module/module.ts';

interface Range {
  readonly start: number;
  readonly size: number;
  /** The patch was enabled before the module came. */
  readonly late: boolean;
}

const FENTRY = 5;
const CALL = 0xe8;

export class Originals {
  readonly #machine: Machine;
  /** Functions that some enabled patch has, by object. */
  readonly #patched = new Map<string, Set<string>>();
  #ranges: Range[] = [];
  /** Modules that were there when the first patch for them was enabled. */
  readonly #early = new Set<Module>();

  constructor(machine: Machine) {
    this.#machine = machine;
    machine.core.events.subscribe(() => this.#refresh(), ['transition', 'module']);
  }

  /** Instructions of the block at `rip` that are original code; the call or nop at the function's start is not. */
  count(rip: number, executed: number): number {
    for (const { start, size, late } of this.#ranges) {
      const at = (rip - start) >>> 0;
      if (at >= size) continue;
      if (!late && this.#machine.livepatch.transitionPatch) return 0;
      if (at >= FENTRY) return executed;
      return this.#machine.core.mem.readU8((0xffffffffn << 32n) | BigInt(start)) === CALL ? 0 : executed - 1;
    }
    return 0;
  }

  #refresh(): void {
    const { livepatch, modules } = this.#machine;
    for (const patch of livepatch.patches().filter((p) => p.enabled)) {
      // Objects that are not loaded are known from the patch module in one model, from the bundle in the other.
      for (const object of patch.objects()) {
        if (object.name === undefined) continue;
        for (const func of object.funcs()) this.#add(object.name, func.oldName ?? '');
      }
    }
    for (const bundle of this.#machine.bundles?.list() ?? []) {
      if (!bundle.patch.enabled) continue;
      for (const { spec } of bundle.members) if (spec.object !== 'vmlinux') this.#add(spec.object, undefined);
    }
    this.#ranges = modules.loader.modules.all.flatMap((mod) => this.#rangesOf(mod));
  }

  /** @param func undefined for one that is known when its member is loaded: NAME_step of the fixtures till then */
  #add(object: string, func: string | undefined): void {
    const funcs = this.#patched.get(object) ?? new Set<string>();
    if (!this.#patched.has(object)) {
      const mod = this.#machine.modules.find(object);
      if (mod) this.#early.add(mod);
    }
    this.#patched.set(object, funcs.add(func ?? `${object}_step`));
  }

  #rangesOf(mod: Module): Range[] {
    const { core } = this.#machine;
    if (mod.freed || mod.state === 'UNFORMED') return [];
    return [...(this.#patched.get(mod.name) ?? [])].flatMap((name) =>
      mod.symbolsNamed(name).map((addr) => ({
        start: lo32(addr),
        size: core.symbols.sizeAndOffset(addr)?.size ?? 0,
        late: !this.#early.has(mod),
      })),
    );
  }
}
