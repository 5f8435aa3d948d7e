// Debian's kernels, for the long tests: from a folder that KLPEMU_KERNELS names, or from its archive to .cache/kernels.
// Nothing of them enters the repository. What cannot be had is said, and its tests are skipped.

import { join } from 'node:path';
import { BOOTED, type BootedVersion, bootedImage } from '../../scripts/debian/booted.ts';

export { BOOTED as DEBIAN_KERNELS };

const CACHE = join(import.meta.dirname, '../../.cache/kernels');

/** The vmlinuz of a release; undefined, and said, where it cannot be had. */
export function vmlinuzOf(series: BootedVersion): string | undefined {
  try {
    return bootedImage(series, CACHE);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    process.stderr.write(
      `skipped: ${BOOTED[series].package} is not here and could not be fetched (${reason})\n`,
    );
    return undefined;
  }
}
