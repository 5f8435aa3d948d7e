// Debian's kernels, for the long tests: from a folder that KLPEMU_KERNELS names, or from its archive to .cache/kernels.
// Nothing of them enters the repository. What cannot be had is said, and its tests are skipped.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { withArchive } from '../../scripts/debian/archive.ts';

interface DebianKernel {
  readonly release: string;
  readonly package: string;
  readonly suite: string;
}

export const DEBIAN_KERNELS = {
  '6.1': {
    release: '6.1.0-56-amd64',
    package: 'linux-image-6.1.0-56-amd64-unsigned',
    suite: 'bookworm',
  },
  '6.12': {
    release: '6.12.117+deb13-amd64',
    package: 'linux-image-6.12.117+deb13-amd64',
    suite: 'trixie',
  },
  '7.3': {
    release: '7.3.4+deb13-amd64',
    package: 'linux-binary-7.3.4+deb13-amd64',
    suite: 'trixie-backports',
  },
} as const satisfies Record<string, DebianKernel>;

const CACHE = join(import.meta.dirname, '../../.cache/kernels');

/** The vmlinuz of a release; undefined, and said, where it cannot be had. */
export function vmlinuzOf(series: keyof typeof DEBIAN_KERNELS): string | undefined {
  const kernel = DEBIAN_KERNELS[series];
  const folders = [process.env.KLPEMU_KERNELS, CACHE].filter((folder) => folder !== undefined);
  const known = folders.map((folder) => find(folder, kernel)).find((file) => file !== undefined);
  if (known) return known;
  try {
    fetchKernel(kernel);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    process.stderr.write(`skipped: ${kernel.package} is not here and could not be fetched (${reason})\n`);
  }
  return find(CACHE, kernel);
}

/** As the package has it, in the folder or in one a series. */
function find(folder: string, { release }: DebianKernel): string | undefined {
  const roots = existsSync(folder) ? ['.', ...readdirSync(folder)] : [];
  return roots
    .flatMap((root) =>
      [`boot/vmlinuz-${release}`, `usr/lib/modules/${release}/vmlinuz`].map((at) => join(folder, root, at)),
    )
    .find((file) => existsSync(file));
}

function fetchKernel({ package: name, suite }: DebianKernel): void {
  withArchive([suite], (archive) => archive.unpack(name, CACHE));
}
