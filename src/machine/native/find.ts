// Which file a kernel is: one that is named, or the image of a release that is installed.

import { readdirSync, statSync } from 'node:fs';

/** What is wrong with the kernel that a machine was to have. */
export class KernelFileError extends Error {
  readonly code = 'EINVAL';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KernelFileError';
  }
}

/** Where distributions have the image of a release. */
const PLACES: readonly ((release: string) => string)[] = [
  (release) => `/boot/vmlinuz-${release}`,
  (release) => `/usr/lib/modules/${release}/vmlinuz`,
  (release) => `/lib/modules/${release}/vmlinuz`,
];

/** @param name a path, or a release as `uname -r` says it. @throws KernelFileError */
export function kernelPath(name: string): string {
  if (isFile(name)) return name;
  if (name.includes('/')) throw new KernelFileError(`${name}: no such file`);
  const found = PLACES.map((place) => place(name)).find(isFile);
  if (found) return found;
  const known = installed();
  const others = known.length === 0 ? 'no kernel is installed' : `installed are ${known.join(', ')}`;
  throw new KernelFileError(`no file and no installed kernel '${name}': ${others}`);
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;

function installed(): string[] {
  const boot = statSync('/boot', { throwIfNoEntry: false }) ? readdirSync('/boot') : [];
  return boot.flatMap((file) => /^vmlinuz-(.+)$/.exec(file)?.[1] ?? []).sort();
}
