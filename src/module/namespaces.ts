// Namespaces of exported symbols: which module may use those of one.
// Mirrors verify_namespace_is_imported(), verify_module_namespace() and setup_modinfo() of kernel/module/main.c.
//
// Invariant: who is refused is told the symbol and its namespace before the load fails.

import type { KernelCore } from '../kernel/core.ts';
import { holds } from '../kernel/release.ts';
import { ModuleError } from './error.ts';
import type { LoadInfo } from './load_info.ts';
import type { Module } from './module.ts';
import { MODULES } from './since.ts';

/** `module:kvm,vfio*`: not to be imported, but for those that are named, and for names that begin so. */
const FOR_MODULES = 'module:';

/** An import of what only those may have that are named there. @throws ModuleError */
export function checkImports(core: KernelCore, load: LoadInfo, mod: Module): void {
  if (!holds(core.kernel, MODULES.namespacesNameModules)) return;
  const wrong = load.info.getAll('import_ns').find((namespace) => namespace.startsWith(FOR_MODULES));
  if (wrong === undefined) return;
  const reason = `${mod.name}: module tries to import module namespace: ${wrong}`;
  core.printk.err(reason);
  throw new ModuleError('EPERM', reason);
}

/** @param namespace of the symbol; undefined or '' for none */
export function isImported(
  core: KernelCore,
  load: LoadInfo,
  mod: Module,
  symbol: string,
  namespace: string | undefined,
): boolean {
  if (!namespace || load.info.getAll('import_ns').includes(namespace)) return true;
  if (holds(core.kernel, MODULES.namespacesNameModules) && namesModule(namespace, mod.name)) return true;
  core.printk.err(
    `${mod.name}: module uses symbol (${symbol}) from namespace ${namespace}, but does not import it.`,
  );
  return false;
}

function namesModule(namespace: string, module: string): boolean {
  if (!namespace.startsWith(FOR_MODULES)) return false;
  // As files have them, while a module's name has no dash (6.17).
  const names = namespace.slice(FOR_MODULES.length).replaceAll('-', '_').split(',');
  return names.some((name) =>
    name.endsWith('*') ? module.startsWith(name.slice(0, -1)) : name !== '' && name === module,
  );
}
