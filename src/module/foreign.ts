// What klpemu says, beside the kernel's words, of a module that was built for another kernel.

import type { ModInfo } from '../elf/modinfo.ts';
import type { KernelCore } from '../kernel/core.ts';
import { ModuleError } from './error.ts';

interface Foreign {
  readonly name: string;
  readonly info: ModInfo;
}

/** The error of a module that is another kernel's, and the note about it. */
export function foreign(core: KernelCore, { name, info }: Foreign, reason: string): ModuleError {
  const own = core.kernel.release;
  const release = info
    .get('vermagic')
    ?.split(' ', 1)[0]
    .replace(/[^!-~]/g, '?');
  const built =
    release === undefined
      ? 'does not say for which kernel it was built'
      : release === own
        ? `says that it is for ${own}, but was built with other structures or options than Debian's`
        : `was built for ${release}`;
  const text =
    `${name} ${built}; this machine is ${own}: ` +
    `build it with the package linux-headers-${own} (klpemu help modules)`;
  core.events.emit({ type: 'note', text });
  return new ModuleError('ENOEXEC', reason);
}
