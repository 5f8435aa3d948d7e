// What the kernel's own notifiers do to a module that comes: its jump labels and static calls get the state of their
// keys. Mirrors jump_label_module_notify() and static_call_module_notify().

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Module } from './module.ts';
import { inlinedCalls, updateJumpLabels, updateStaticCalls } from './patch_sites.ts';
import type { ModuleLoaderPorts } from './ports.ts';

/** Sets every site of a COMING module, and reports what was done on the module. */
export function updateSites(core: KernelCore, ports: ModuleLoaderPorts, mod: Module): void {
  const { mem, printk } = core;
  const { branches } = core.arch.moduleText;
  const poke = ports.pokeText;
  const inside = mod.jumpEntries.filter((e) => !mod.contains(e.key));
  const jumps = updateJumpLabels(branches, core, inside, poke);
  const target = (key: Addr): Addr | undefined => staticCallTarget(core, ports, key);
  const inlined = inlinedCalls(branches, (name) => core.symbols.matches(name, undefined)[0]?.addr);
  const calls = updateStaticCalls(branches, mem, mod.staticCallSites, { target, poke, inlined });
  for (const [section, total, result] of [
    ['__jump_table', mod.jumpEntries.length, jumps],
    ['.static_call_sites', mod.staticCallSites.length, calls],
  ] as const) {
    for (const warning of result.warnings) printk.warn(`WARNING: ${mod.name}: ${warning}`);
    const note = `${result.patched} changed, ${total - result.patched} as built`;
    if (total > 0) mod.reports.push({ section, applied: true, entries: total, note });
  }
}

/** What a static call does now: static_call_key.func, by way of the trampoline for a key that is not exported. */
function staticCallTarget(core: KernelCore, ports: ModuleLoaderPorts, key: Addr): Addr | undefined {
  const { mem, symbols, kernel } = core;
  const name = symbols.lookup(key)?.name ?? '';
  const real = name.startsWith('__SCT__') ? ports.staticCallKey?.(key) : key;
  if (real === undefined) return undefined;
  const func = real + BigInt(kernel.structs.static_call_key.fields.func);
  return mem.isMapped(func, 8) ? mem.readU64(func) : undefined;
}
