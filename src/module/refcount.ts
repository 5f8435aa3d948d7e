// Host functions by which guest code counts references to modules.
// Mirrors try_module_get() and its like in kernel/module/main.c.

import type { HostFunction } from '../guest/hostcall.ts';
import type { Module } from './module.ts';
import type { ModuleList } from './modules.ts';

/** A null pointer is the kernel itself, which does not go. */
export function refcountFunctions(modules: ModuleList): Record<string, HostFunction> {
  const at = (addr: bigint): Module | undefined => (addr === 0n ? undefined : modules.byAddr(addr));
  return {
    try_module_get: ({ args }) => {
      const mod = at(args[0]);
      return mod ? modules.tryGet(mod) : true;
    },
    __module_get: ({ args }) => {
      const mod = at(args[0]);
      if (mod) mod.refcnt++;
    },
    module_put: ({ args }) => {
      const mod = at(args[0]);
      if (mod) modules.put(mod);
    },
    module_refcount: ({ args }) => BigInt(at(args[0])?.refcount ?? -1),
  };
}
