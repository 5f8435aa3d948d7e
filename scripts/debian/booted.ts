// The kernels of Debian that the machine boots (docs/your-kernel.md): one release each, that later ones in the archive do
// not change what is tried, and the package that has its image.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptError } from '../errors.ts';
import { oneAtATime } from '../setup/one_at_a_time.ts';
import { withArchive } from './archive.ts';

interface BootedKernel {
  readonly release: string;
  readonly package: string;
  /** Where another package has the modules. */
  readonly modules?: string;
  readonly suite: string;
}

export const BOOTED = {
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
    modules: 'linux-modules-7.3.4+deb13-amd64',
    suite: 'trixie-backports',
  },
} as const satisfies Record<string, BootedKernel>;

export type BootedVersion = keyof typeof BOOTED;

/** The vmlinuz of a release: from the folder that KLPEMU_KERNELS names, or from Debian's archive to `cache`. @throws ScriptError */
export function bootedImage(version: BootedVersion, cache: string): string | undefined {
  const kernel: BootedKernel = BOOTED[version];
  return had(find, kernel, kernel.package, cache);
}

/** The vmlinuz of a series (6.1); any other word is a file or a release, and stays as it is. @throws ScriptError */
export function namedKernel(name: string, cache: string): string {
  if (!isBooted(name)) return name;
  const image = bootedImage(name, cache);
  if (image === undefined) throw new ScriptError(`${BOOTED[name].package} of Debian holds no vmlinuz`);
  return image;
}

const isBooted = (name: string): name is BootedVersion => Object.hasOwn(BOOTED, name);

/** The modules of a release, /lib/modules/RELEASE: where its image is, or from Debian's archive to `cache`. @throws ScriptError */
export function bootedModules(version: BootedVersion, cache: string): string | undefined {
  const kernel: BootedKernel = BOOTED[version];
  return had(findModules, kernel, kernel.modules ?? kernel.package, cache);
}

/** What is half unpacked by another process is waited for. */
function had(
  find: (folder: string, kernel: BootedKernel) => string | undefined,
  kernel: BootedKernel,
  packageName: string,
  cache: string,
): string | undefined {
  const given = process.env.KLPEMU_KERNELS;
  const known = given === undefined ? undefined : find(given, kernel);
  if (known) return known;
  return oneAtATime(join(cache, `${packageName}.lock`), () => {
    const kept = find(cache, kernel);
    if (kept) return kept;
    withArchive([kernel.suite], (archive) => archive.unpack(packageName, cache));
    return find(cache, kernel);
  });
}

function findModules(folder: string, { release }: BootedKernel): string | undefined {
  return rootsIn(folder)
    .flatMap((root) => ['lib/modules', 'usr/lib/modules'].map((at) => join(folder, root, at, release)))
    .find((path) => existsSync(join(path, 'kernel')));
}

/** As the package has it, in the folder or in one a series. */
function find(folder: string, { release }: BootedKernel): string | undefined {
  return rootsIn(folder)
    .flatMap((root) =>
      [`boot/vmlinuz-${release}`, `usr/lib/modules/${release}/vmlinuz`].map((at) => join(folder, root, at)),
    )
    .find((file) => existsSync(file));
}

const rootsIn = (folder: string): string[] => (existsSync(folder) ? ['.', ...readdirSync(folder)] : []);
