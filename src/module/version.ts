// Whether a module was built for this kernel: the checksums of what it uses, and the size of its struct module.
// Mirrors kernel/module/version.c, and the check of struct module that kernel/module/main.c has from 6.4 on.

import type { KernelCore } from '../kernel/core.ts';
import { holds } from '../kernel/release.ts';
import { foreign } from './foreign.ts';
import { forceLoad, type LoadInfo } from './load_info.ts';
import { checkModuleSize } from './module_size.ts';
import { MODULES } from './since.ts';

/** check_version(): the checksum that it was built against; without any it is loaded by force. The problem, logged. */
export function checkVersion(
  core: KernelCore,
  load: LoadInfo,
  crc: number | undefined,
  name: string,
): string | undefined {
  if (crc === undefined) return undefined;
  if (!load.versions) {
    forceLoad(core, load, name);
    return undefined;
  }
  const found = versionOf(core, load, name);
  if (found === crc) return undefined;
  const what = found === undefined ? 'no symbol version for' : 'disagrees about version of symbol';
  const problem = `${load.name}: ${what} ${name}`;
  core.printk.warn(problem);
  return problem;
}

/** The checksum in __versions: a word, of which a module with more than 32 bits agrees with nothing. */
function versionOf({ kernel }: KernelCore, { elf, versions }: LoadInfo, name: string): number | undefined {
  if (!versions) return undefined;
  const { size, fields } = kernel.structs.modversion_info;
  const view = elf.view(versions);
  for (let at = 0; at + size <= view.byteLength; at += size) {
    if (elf.stringAt(versions, at + fields.name) === name)
      return Number(view.getBigUint64(at + fields.crc, true));
  }
  return undefined;
}

/** check_modstruct_version(): before anything in struct module is used. @throws ModuleError */
export function checkModstructVersion(core: KernelCore, load: LoadInfo): void {
  if (holds(core.kernel, MODULES.sizeComesFirst)) checkModuleSize(core, load);
  const problem = checkVersion(core, load, core.kernel.layoutCrc, 'module_layout');
  if (problem !== undefined) throw foreign(core, load, problem);
}
