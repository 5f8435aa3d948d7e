// The text of modules as the unwinder knows it: from when it can run until it goes. Mirrors unwind_module_init() of
// arch/x86/kernel/unwind_orc.c, and what module_init_layout's end means to it.

import { lo32 } from '../../guest/addr.ts';
import type { Module } from '../../module/module.ts';
import type { OrcLookup, TextHandle } from '../../unwind/orc_lookup.ts';

type Region = 'core' | 'init';

export class ModuleText {
  readonly #lookup: OrcLookup;
  readonly #text = new Map<Module, Partial<Record<Region, TextHandle>>>();

  constructor(lookup: OrcLookup) {
    this.#lookup = lookup;
  }

  add(mod: Module): void {
    const { orc } = mod;
    const handles: Partial<Record<Region, TextHandle>> = {};
    for (const region of ['core', 'init'] as const) {
      const size = mod.textSize(region);
      if (size === 0) continue;
      const ranges = [{ start: lo32(mod.base(region)), size }];
      handles[region] = this.#lookup.addText({ name: mod.name, ranges, ...(orc && { orc }) });
    }
    this.#text.set(mod, handles);
  }

  /** Its init has returned. */
  removeInit(mod: Module): void {
    const handles = this.#text.get(mod);
    if (handles?.init) this.#lookup.remove(handles.init);
    if (handles) delete handles.init;
  }

  remove(mod: Module): void {
    this.removeInit(mod);
    const handles = this.#text.get(mod);
    if (handles?.core) this.#lookup.remove(handles.core);
    this.#text.delete(mod);
  }
}
