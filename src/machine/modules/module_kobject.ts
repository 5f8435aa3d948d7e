// The kobject of a module, where a real kernel's own code goes by it: drivers that it registers have links to it. Mirrors
// mod_sysfs_init() and mod_kobject_put() of kernel/module/sysfs.c.

import type { Addr } from '../../guest/addr.ts';
import type { HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Kobjects } from '../../kernel/kobject.ts';
import type { Sysfs } from '../../kernel/sysfs.ts';
import type { Module } from '../../module/module.ts';

/** struct module_kobject begins with it; behind it is the module. */
function kobjectOf({ kernel: { structs } }: KernelCore, mod: Module): Addr | undefined {
  const { mkobj } = structs.module.fields;
  return mkobj === undefined ? undefined : mod.addr + BigInt(mkobj);
}

/** @returns 0 or -errno */
export function* moduleKobject(
  core: KernelCore,
  kobjects: Kobjects,
  sysfs: Sysfs,
  mod: Module,
): HostGenerator<number> {
  const kobj = kobjectOf(core, mod);
  if (kobj === undefined) return 0;
  kobjects.init(kobj, {});
  core.mem.writeU64(kobj + BigInt(core.kernel.structs.kobject.size), mod.addr);
  const failed = yield* kobjects.add(kobj, sysfs.mkdirs('/module'), mod.name);
  if (failed !== 0) yield* kobjects.put(kobj);
  return failed;
}

export function* putModuleKobject(core: KernelCore, kobjects: Kobjects, mod: Module): HostGenerator<void> {
  const kobj = kobjectOf(core, mod);
  if (kobj === undefined) return;
  yield* kobjects.del(kobj);
  yield* kobjects.put(kobj);
}
