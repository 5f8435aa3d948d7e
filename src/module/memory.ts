// A module's memory: taken, filled with its sections, protected, given back.
// Mirrors move_module(), module_deallocate() of kernel/module/main.c and strict_rwx.c.
//
// Invariant: text is never writable and executable at once. It is written until complete_formation(), executed after.

import { SHT_NOBITS } from '../elf/constants.ts';
import type { Addr } from '../guest/addr.ts';
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { ModuleError } from './error.ts';
import type { ModuleLayout, Place, Region } from './layout.ts';
import type { LoadInfo } from './load_info.ts';
import { Module } from './module.ts';
import type { ModuleLoaderPorts } from './ports.ts';

/** Takes both regions and copies the sections in. @throws ModuleError ENOMEM, with nothing left allocated */
export function moveModule(
  core: KernelCore,
  ports: ModuleLoaderPorts,
  load: LoadInfo,
  layout: ModuleLayout,
): Module {
  const coreBase = allocate(ports, layout.core.size);
  let initBase: Addr;
  try {
    initBase = allocate(ports, layout.init.size);
  } catch (error) {
    ports.area.free(coreBase);
    throw error;
  }
  const base = (region: Region): Addr => (region === 'core' ? coreBase : initBase);
  for (const { section, region, offset } of layout.places.values()) {
    if (section.type === SHT_NOBITS) continue;
    core.mem.writeBytes(base(region) + BigInt(offset), load.elf.data(section));
  }
  const place = layout.places.get(load.thisModule.index);
  if (!place) {
    ports.area.free(coreBase);
    ports.area.free(initBase);
    throw new ModuleError('ENOEXEC', `${load.name}: ${load.thisModule.name} is not loaded`);
  }
  const addr = placeAddress(place, base);
  const { elf, info, name } = load;
  const mod = new Module(core, { name, elf, info, layout, addr, coreBase, initBase });
  mod.writeRegion('core', coreBase, layout.core);
  mod.writeRegion('init', initBase, layout.init);
  return mod;
}

function placeAddress(place: Place, base: (region: Region) => Addr): Addr {
  return base(place.region) + BigInt(place.offset);
}

function allocate(ports: ModuleLoaderPorts, size: number): Addr {
  const base = ports.area.alloc(size);
  if (base === undefined) throw new ModuleError('ENOMEM', `no module memory for ${size} bytes`);
  return base;
}

/** Address of a section that was loaded; 0 for one that was not. */
export function sectionAddress(mod: Module, index: number): Addr {
  const place = mod.layout.places.get(index);
  return place ? placeAddress(place, (region) => mod.base(region)) : 0n;
}

/** module_enable_ro(false), module_enable_nx(), module_enable_x(): from here on text is text, unless it is paused. */
export function protectModule(core: KernelCore, mod: Module): void {
  const exec = mod.paused ? 0 : PROT_EXEC;
  for (const region of ['core', 'init'] as const) {
    const { textSize, roSize } = mod.layout[region];
    protect(core, mod.base(region), 0, textSize, PROT_READ | exec);
    protect(core, mod.base(region), textSize, roSize, PROT_READ);
  }
}

/** A paused module's text becomes executable. Nothing can have run in it: it never was. */
export function unpauseModule(core: KernelCore, mod: Module): void {
  for (const region of ['core', 'init'] as const) {
    const { textSize } = mod.layout[region];
    const prot = textSize > 0 ? (core.mem.protectionOf(mod.base(region)) ?? 0) : 0;
    if (prot & PROT_EXEC) throw new Error(`${mod.name} is paused, and its text is executable`);
    protect(core, mod.base(region), 0, textSize, PROT_READ | PROT_EXEC);
  }
  mod.paused = false;
}

/** module_enable_ro(true): what only init may write. */
export function protectAfterInit(core: KernelCore, mod: Module): void {
  const { roSize, roAfterInitSize } = mod.layout.core;
  protect(core, mod.base('core'), roSize, roAfterInitSize, PROT_READ);
}

function protect(core: KernelCore, base: Addr, start: number, end: number, prot: number): void {
  if (end > start) core.mem.protect(base + BigInt(start), end - start, prot);
}

/** Gives the init part back; its symbols must be out of use. */
export function freeInit(core: KernelCore, ports: ModuleLoaderPorts, mod: Module): void {
  const base = mod.base('init');
  if (base === 0n) return;
  mod.writeRegion('init', 0n, { size: 0, textSize: 0, roSize: 0, roAfterInitSize: 0 });
  release(core, ports, base, mod.layout.init.size);
}

/** Gives everything back; `mod.addr` is no longer valid after it. */
export function freeModuleMemory(core: KernelCore, ports: ModuleLoaderPorts, mod: Module): void {
  freeInit(core, ports, mod);
  const base = mod.base('core');
  mod.freed = true;
  release(core, ports, base, mod.layout.core.size);
}

/** VM_FLUSH_RESET_PERMS: no stale execute permission survives. */
function release({ mem }: KernelCore, { area }: ModuleLoaderPorts, base: Addr, size: number): void {
  mem.protect(base, size, PROT_READ | PROT_WRITE);
  area.free(base);
}
