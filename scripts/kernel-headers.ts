// Where kbuild finds the kernel headers that fixtures are built against.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptUsageError } from './errors.ts';

const MODULES = '/lib/modules';
const SERIES = '6.1.';

/** The build directory of `release`, or of the newest installed 6.1 kernel of Debian. */
export function kernelBuildDir(release = process.env.KLPEMU_KERNEL_RELEASE): string {
  const releases = release ? [release] : installedReleases();
  const found = releases.map((r) => join(MODULES, r, 'build')).find((dir) => existsSync(dir));
  if (found) return found;
  throw new ScriptUsageError(
    `no kernel headers for ${release ?? `${SERIES}*`} in ${MODULES}: install the package linux-headers-amd64 of Debian 12`,
  );
}

function installedReleases(): string[] {
  if (!existsSync(MODULES)) return [];
  const numeric = new Intl.Collator('en', { numeric: true });
  return readdirSync(MODULES)
    .filter((name) => name.startsWith(SERIES) && !name.includes('rt'))
    .sort((a, b) => numeric.compare(b, a));
}
