// What livepatch asks of modules: look-up by name, symbols by position, references, and the relocations that wait
// until the module they are about is loaded.
// Mirrors klp_apply_section_relocs() and klp_resolve_symbols() of kernel/livepatch/core.c, and
// kernel/module/livepatch.c: the object file is kept with the module for it.

import { SHF_RELA_LIVEPATCH, SHN_LIVEPATCH, SHT_RELA } from '../elf/constants.ts';
import type { ElfSection, ElfSymbol } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';
import { injected, ModuleError } from './error.ts';
import { parsed } from './load_info.ts';
import { sectionAddress } from './memory.ts';
import type { Module } from './module.ts';
import type { ModuleList } from './modules.ts';
import type { FindObjectSymbol } from './ports.ts';
import { applyRelocateAdd, type WriteBytes } from './relocate.ts';

/** Modules by the address of their struct module, as livepatch has them. */
export class LivepatchModules {
  readonly #core: KernelCore;
  readonly #modules: ModuleList;
  readonly #pokeText: WriteBytes;

  constructor(core: KernelCore, modules: ModuleList, pokeText: WriteBytes) {
    this.#core = core;
    this.#modules = modules;
    this.#pokeText = pokeText;
  }

  findModule(name: string): Addr | undefined {
    return this.#modules.find(name)?.addr;
  }

  symbolsNamed(mod: Addr, name: string): readonly Addr[] {
    return this.#modules.byAddr(mod)?.symbolsNamed(name) ?? [];
  }

  sectionOf(mod: Addr, name: string): { readonly addr: Addr; readonly size: number } | undefined {
    return this.#modules.byAddr(mod)?.sections.get(name);
  }

  tryModuleGet(mod: Addr): boolean {
    const found = this.#modules.byAddr(mod);
    return found !== undefined && this.#modules.tryGet(found);
  }

  modulePut(mod: Addr): void {
    const found = this.#modules.byAddr(mod);
    if (found) this.#modules.put(found);
  }

  /** Every .klp.rela section of a patch module that is about an object. 0 or -errno, the reason in the log. */
  applyObjectRelocs(patchModule: Addr, objectName: string, find: FindObjectSymbol): number {
    const mod = this.#modules.byAddr(patchModule);
    if (!mod) return -UAPI.EINVAL;
    try {
      for (const rela of livepatchRelocations(mod)) {
        applySectionRelocs(this.#core, find, mod, rela, objectName, this.#pokeText);
        this.#tell('apply', mod, rela, objectName);
      }
      return 0;
    } catch (error) {
      if (!(error instanceof ModuleError)) throw error;
      this.clearObjectRelocs(patchModule, objectName);
      return -error.errno;
    }
  }

  /** klp_clear_object_relocs(): the object goes; what was resolved against it is as in the file again. */
  clearObjectRelocs(patchModule: Addr, objectName: string): void {
    const mod = this.#modules.byAddr(patchModule);
    if (!mod) return;
    for (const rela of livepatchRelocations(mod)) {
      if (!isReadable(mod, rela)) continue;
      clearSectionRelocs(this.#core, mod, rela, objectName, this.#pokeText);
      this.#tell('clear', mod, rela, objectName);
    }
  }

  #tell(what: 'apply' | 'clear', mod: Module, rela: ElfSection, object: string): void {
    const { events } = this.#core;
    if (objectOf(rela) !== object || !events.listens('klp_relocs')) return;
    const { length: count } = mod.elf.relocationTable(rela.index);
    events.emit({ type: 'klp_relocs', what, patch: mod.name, object, count });
  }
}

/** Whether the table is one: of another nothing was applied, which is said when that is tried. */
function isReadable({ elf }: Module, rela: ElfSection): boolean {
  try {
    elf.relocationTable(rela.index);
    return true;
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    return false;
  }
}

/**
 * klp_write_section_relocs() with apply off, clear_relocate_add(): as the file had them, so that they can be
 * applied again. For one section, if it is about the object.
 */
function clearSectionRelocs(
  { arch }: KernelCore,
  mod: Module,
  rela: ElfSection,
  objectName: string,
  write: WriteBytes,
): void {
  if (objectOf(rela) !== objectName) return;
  const base = sectionAddress(mod, rela.info);
  if (base === 0n) return;
  for (const { offset, type } of mod.elf.relocationTable(rela.index)) {
    const width = arch.elf.relocations.get(type)?.width ?? 0;
    if (width > 0) write(base + BigInt(offset), new Uint8Array(width));
  }
}

const objectOf = (rela: ElfSection): string | undefined => /^\.klp\.rela\.([^.]{1,55})/.exec(rela.name)?.[1];

/** Relocation sections that livepatch resolves. */
function livepatchRelocations(mod: Module): readonly ElfSection[] {
  return mod.elf.sections.filter(
    (s) => s.type === SHT_RELA && s.flags & SHF_RELA_LIVEPATCH && mod.layout.places.has(s.info),
  );
}

/**
 * One section, if it is about the object; `vmlinux` stands for the kernel itself, undefined for every object.
 * @throws ModuleError
 * @param write how bytes get into the target: plainly during load, by text poking later
 */
export function applySectionRelocs(
  core: KernelCore,
  find: FindObjectSymbol | undefined,
  mod: Module,
  rela: ElfSection,
  objectName: string | undefined,
  write: WriteBytes,
): void {
  const object = objectOf(rela);
  if (object === undefined) throw complain(core, `section ${rela.name} has an incorrectly formatted name`);
  if (objectName !== undefined && object !== objectName) return;
  injected(core, 'klp_apply_section_relocs', `${mod.name} ${rela.name}`);
  for (const { symbol } of parsed(core, () => mod.elf.relocationTable(rela.index))) {
    if (symbol.shndx !== SHN_LIVEPATCH) {
      throw complain(core, `symbol ${symbol.name} is not marked as a livepatch symbol`);
    }
    resolveSymbol(core, find, mod, symbol, object);
  }
  applyRelocateAdd(core, mod, rela, write);
}

/** One of klp_resolve_symbols(). @param object whose relocations ask for it; undefined: they are no object's */
function resolveSymbol(
  core: KernelCore,
  find: FindObjectSymbol | undefined,
  mod: Module,
  symbol: ElfSymbol,
  object: string | undefined,
): void {
  const parts = /^\.klp\.sym\.([^.]{1,55})\.([^,]{1,511}),(\d+)/.exec(symbol.name);
  if (!parts) throw complain(core, `symbol ${symbol.name} has an incorrectly formatted name`);
  const [, owner, name, sympos] = parts;
  if (owner === 'vmlinux' && object !== undefined && object !== 'vmlinux') {
    const where = 'from module-specific livepatch relocation section';
    throw complain(core, `invalid access to vmlinux symbol '${name}' ${where}`);
  }
  const value = find?.(owner === 'vmlinux' ? undefined : owner, name, BigInt(sympos));
  if (value === undefined) throw new ModuleError('EINVAL', `livepatch symbol ${symbol.name} not found`);
  mod.setSymbolValue(symbol.index, value);
}

/**
 * Where nothing is late: livepatch's symbols to which ordinary relocations refer have their values before these are
 * applied. @throws ModuleError
 */
export function resolveOrdinary(core: KernelCore, find: FindObjectSymbol | undefined, mod: Module): void {
  for (const rela of mod.elf.relaSections) {
    if (rela.flags & SHF_RELA_LIVEPATCH || !mod.layout.places.has(rela.info)) continue;
    for (const { symbol } of parsed(core, () => mod.elf.relocationTable(rela.index)))
      if (symbol.shndx === SHN_LIVEPATCH) resolveSymbol(core, find, mod, symbol, undefined);
  }
}

function complain({ printk }: KernelCore, reason: string): ModuleError {
  printk.err(`livepatch: ${reason}`);
  return new ModuleError('EINVAL', reason);
}
