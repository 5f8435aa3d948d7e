// The directory of a module in /sys/module. Mirrors kernel/module/sysfs.c: attributes, sections, notes, parameters.
//
// Invariant: holders of a module has a link to each module that uses its symbols, for as long as that has a directory.

import { hex16 } from '../../guest/addr.ts';
import type { HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { paramAttribute, readKernelParam } from '../../kernel/params.ts';
import type { Sysfs, SysfsDir } from '../../kernel/sysfs.ts';
import type { Module } from '../../module/module.ts';
import { ModuleParams } from '../../module/params.ts';
import { MODULE_ATTRIBUTES } from '../../module/procfs.ts';

/** MODULE_SECT_READ_SIZE: `0x`, the digits of an address, a newline. */
const SECTION_FILE_SIZE = 19;
const SHT_NOTE = 7;

export function makeModuleDirectory(core: KernelCore, sysfs: Sysfs, mod: Module): void {
  const dir = sysfs.mkdirs(`/module/${mod.name}`);
  for (const { name, mode, show } of MODULE_ATTRIBUTES) {
    if (show(mod) === undefined) continue;
    dir.addFile({ name, mode, show: () => `${show(mod) ?? ''}\n` });
  }
  // Nobody listens to events.
  dir.addFile({ name: 'uevent', mode: 0o200, store: (text) => text.length });
  dir.addDir('holders');
  addSections(dir, mod);
  addNotes(core, dir, mod);
  for (const param of new ModuleParams(core).list(mod)) {
    const attribute = paramAttribute(core, readKernelParam(core, param.addr));
    if (attribute) sysfs.mkdirs(`/module/${mod.name}/parameters`).addFile(attribute);
  }
  for (const used of mod.uses) holdersOf(sysfs, used)?.addLink(mod.name, dir);
}

export function* removeModuleDirectory(core: KernelCore, sysfs: Sysfs, mod: Module): HostGenerator<void> {
  // del_usage_links()
  for (const used of mod.uses) holdersOf(sysfs, used)?.remove(mod.name);
  const modules = sysfs.mkdirs('/module');
  const dir = modules.get(mod.name);
  modules.remove(mod.name);
  // A task may be in the functions of a parameter.
  if (dir?.kind === 'directory') yield* dir.drain(core.symbols.require('schedule_timeout_uninterruptible'));
}

/** What add_usage_links() puts links into. */
function holdersOf(sysfs: Sysfs, used: Module): SysfsDir | undefined {
  const holders = sysfs.lookup(`/module/${used.name}/holders`);
  return holders?.kind === 'directory' ? holders : undefined;
}

/** add_sect_attrs(): where each section was put. */
function addSections(dir: SysfsDir, mod: Module): void {
  const sections = dir.addDir('sections');
  for (const [name, { addr, size }] of mod.sections) {
    if (size === 0) continue;
    sections?.addFile({ name, mode: 0o400, size: SECTION_FILE_SIZE, show: () => `0x${hex16(addr)}\n` });
  }
}

/** add_notes_attrs(): the bytes of the note sections. */
function addNotes(core: KernelCore, dir: SysfsDir, mod: Module): void {
  const notes = dir.addDir('notes');
  for (const { name, type } of mod.elf.sections) {
    const section = type === SHT_NOTE ? mod.sections.get(name) : undefined;
    if (!section || section.size === 0) continue;
    const show = (): string => String.fromCharCode(...core.mem.readBytes(section.addr, section.size));
    notes?.addFile({ name, mode: 0o444, size: section.size, show });
  }
}
