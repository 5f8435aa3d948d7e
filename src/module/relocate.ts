// Relocation of a module's sections in guest memory.
// Mirrors apply_relocations() of kernel/module/main.c and apply_relocate_add() of arch/x86/kernel/module.c.
//
// Livepatch's own relocations (SHF_RELA_LIVEPATCH) are livepatch.ts's; it comes back to applyRelocateAdd() for them.

import type { RelocationSite } from '../arch/module_text.ts';
import { SHF_RELA_LIVEPATCH, SHT_REL, SHT_RELA } from '../elf/constants.ts';
import type { ElfSection } from '../elf/elf_object.ts';
import { RelocationError } from '../elf/error.ts';
import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { injected, ModuleError } from './error.ts';
import { parsed } from './load_info.ts';
import { sectionAddress } from './memory.ts';
import type { Module } from './module.ts';

/**
 * Every relocation section whose target is loaded. @throws ModuleError
 * @param livepatch does the sections that are livepatch's
 */
export function applyRelocations(
  core: KernelCore,
  mod: Module,
  livepatch: (rela: ElfSection, write: WriteBytes) => void,
): void {
  // memcpy(): the text is not executable yet.
  const write: WriteBytes = (addr, bytes) => core.mem.writeBytes(addr, bytes);
  for (const section of mod.elf.sections) {
    if (!mod.layout.places.has(section.info) || section.info === 0) continue;
    if (section.type === SHT_RELA && section.flags & SHF_RELA_LIVEPATCH) {
      livepatch(section, write);
    } else if (section.type === SHT_RELA) {
      applyRelocateAdd(core, mod, section, write);
    } else if (section.type === SHT_REL) {
      core.printk.err(`module ${mod.name}: REL relocation unsupported`);
      throw new ModuleError('ENOEXEC', `${mod.name}: REL relocation unsupported`);
    }
  }
}

export type WriteBytes = (addr: Addr, bytes: Uint8Array) => void;

/**
 * One section of relocations. Symbols take their values from the module's symbol table in guest memory.
 * @param write text_poke() when the module is formed already
 */
export function applyRelocateAdd(core: KernelCore, mod: Module, rela: ElfSection, write: WriteBytes): void {
  injected(core, 'apply_relocate_add', `${mod.name} ${rela.name}`);
  const target = mod.elf.sections[rela.info];
  const base = sectionAddress(mod, rela.info);
  if (base === 0n) throw new ModuleError('ENOEXEC', `${mod.name}: ${rela.name} has no target`);
  const relocations = parsed(core, () => mod.elf.relocationTable(rela.index));
  const word = new DataView(new ArrayBuffer(8));
  for (const r of relocations) {
    const width = core.arch.elf.relocations.get(r.type)?.width ?? 0;
    const value = mod.symbolValue(r.symbol.index) + r.addend;
    const site = {
      file: mod.elf.file,
      section: target.name,
      offset: r.offset,
      type: r.type,
      symbol: mod.elf.symbolLabel(r.symbol),
    };
    const place = base + BigInt(r.offset);
    const bytes = new Uint8Array(word.buffer, 0, width);
    bytes.set(core.mem.view(place, width));
    relocateWord(core, mod, word, { place, value, site });
    if (width > 0) write(place, bytes);
  }
}

/** Applies to a copy of the word, so that `write` decides how it gets into memory. */
function relocateWord(
  core: KernelCore,
  mod: Module,
  word: DataView,
  { place, value, site }: { place: Addr; value: bigint; site: RelocationSite },
): void {
  try {
    core.arch.moduleText.relocations.apply(word, 0, place, value, site);
  } catch (error) {
    if (!(error instanceof RelocationError)) throw error;
    const known = error.reason.startsWith('Unknown rela');
    core.printk.err(`module: ${known ? `${mod.name}: ` : ''}${error.reason}`);
    if (error.reason.startsWith('overflow')) {
      core.printk.err(`module: \`${mod.name}' likely not compiled with -mcmodel=kernel`);
    }
    throw new ModuleError('ENOEXEC', error.message);
  }
}
