// The size of struct module, which a module brings along as its kernel's compiler made it.
//
// 6.1 does not look at it, and would read on behind a smaller one: there it is asked when the kernel's own checks are over.

import type { ElfSection } from '../elf/elf_object.ts';
import type { ModInfo } from '../elf/modinfo.ts';
import type { KernelCore } from '../kernel/core.ts';
import { foreign } from './foreign.ts';

/** Of a module that is being loaded. */
interface Sized {
  readonly name: string;
  readonly info: ModInfo;
  readonly thisModule: ElfSection;
}

/** @throws ModuleError */
export function checkModuleSize(core: KernelCore, load: Sized): void {
  if (load.thisModule.size === core.kernel.structs.module.size) return;
  const words =
    ".gnu.linkonce.this_module section size must match the kernel's built struct module size at run time";
  core.printk.err(`module ${load.name}: ${words}`);
  throw foreign(core, load, `${load.name}: ${words}`);
}
