// What kernels after 6.1 do otherwise in kernel/module, each from which release on.

import type { Since } from '../kernel/release.ts';

export const MODULES = {
  /** An init function's -EEXIST is user space's EBUSY: EEXIST says that the module is loaded. */
  existsIsBusy: { release: '7.3', seen: '7.3.4', not: '6.12.117' },
  /** A namespace may name the modules that it is for, and is not to be imported then. */
  namespacesNameModules: { release: '6.16', seen: '7.3.4', not: '6.12.117' },
  /** The size of struct module is asked first of all, and not the CRC of module_layout. */
  sizeComesFirst: { release: '6.4', seen: '6.12.117, 7.3.4', not: '6.1' },
} as const satisfies Record<string, Since>;
