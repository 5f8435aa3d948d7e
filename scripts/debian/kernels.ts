// The kernels that Debian's archives hold, by version: which packages have the modules and the image, and where those
// lie in them.
//
// Up to 6.18 one package has both; from 6.19 on `linux-image-*` is empty, and `linux-binary-*` and `linux-modules-*`
// have them.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptError, ScriptUsageError } from '../errors.ts';
import { type DebianArchive, withArchive } from './archive.ts';

/** Kernels that corpora are made of, and the releases that have them. */
export const KERNELS: Readonly<Record<string, readonly string[]>> = {
  '6.1': ['bookworm'],
  '6.12': ['trixie'],
  '6.18': ['trixie', 'trixie-backports'],
  '7.3': ['trixie', 'trixie-backports'],
};

export interface UnpackedKernel {
  /** Files of packages, with their versions. */
  readonly packages: readonly string[];
  /** As uname -r says it. */
  readonly release: string;
  readonly modules: string;
  readonly image: string;
}

/** By numbers: 6.12.117 is later than 6.12.9. */
function compareReleases(a: string, b: string): number {
  const [first, second] = [a, b].map((text) => text.match(/\d+/g)?.map(Number) ?? []);
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    const difference = (first[i] ?? -1) - (second[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Of packages whose names have a kernel's release, as `pattern` finds it, the latest of one version. */
export function newest(version: string, names: readonly string[], pattern: RegExp): string | undefined {
  const releaseOf = (name: string): string => pattern.exec(name)?.[1] ?? '';
  const isOf = (release: string): boolean =>
    release === version || /^[.-]/.test(release.slice(version.length));
  return names
    .filter((name) => releaseOf(name).startsWith(version) && isOf(releaseOf(name)))
    .sort((a, b) => compareReleases(releaseOf(a), releaseOf(b)))
    .at(-1);
}

const PARTED = ['linux-binary-', 'linux-modules-'];
/** 6.12.117+deb13-amd64, not -cloud-amd64, -rt-amd64 or -dbg. */
const RELEASE = String.raw`(\d+\.[\d.]+(?:-\d+)?(?:\+deb\d+)?-amd64)`;

/** The packages of the latest release of a version. */
function packagesOf(archive: DebianArchive, version: string): string[] {
  const parted = PARTED.map((prefix) =>
    newest(version, archive.names(prefix), new RegExp(`^${prefix}${RELEASE}$`)),
  );
  if (parted.every((name) => name !== undefined)) return parted as string[];
  const images = archive.names('linux-image-');
  for (const end of ['$', '-unsigned$']) {
    const whole = newest(version, images, new RegExp(`^linux-image-${RELEASE}${end}`));
    if (whole) return [whole];
  }
  throw new ScriptError(`no package of a kernel ${version} in ${KERNELS[version]?.join(' or ')}`);
}

/** Into a folder of that name in `cache`, if it is not there. @throws ScriptUsageError for a kernel that is not known */
export function fetchKernel(version: string, cache: string): UnpackedKernel {
  const releases = KERNELS[version];
  if (!releases) throw new ScriptUsageError(`--kernel ${version}: ${Object.keys(KERNELS).join(', ')}`);
  const folder = join(cache, `linux-${version}`);
  if (!existsSync(folder)) {
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    mkdirSync(part, { recursive: true });
    const packages = withArchive(releases, (archive) =>
      packagesOf(archive, version).map((name) => archive.unpack(name, part)),
    );
    writeFileSync(join(part, 'packages'), `${packages.join('\n')}\n`);
    // Whole or not at all.
    renameSync(part, folder);
  }
  return unpackedKernel(folder);
}

/** What an unpacked package, or several of one kernel, hold. @throws ScriptError where modules or image are missing */
export function unpackedKernel(folder: string): UnpackedKernel {
  const modules = ['usr/lib/modules', 'lib/modules']
    .map((dir) => join(folder, dir))
    .find((dir) => existsSync(dir));
  const [release] = modules ? readdirSync(modules) : [];
  if (!modules || !release) throw new ScriptError(`${folder} holds no modules`);
  const image = [join(folder, 'boot', `vmlinuz-${release}`), join(modules, release, 'vmlinuz')].find((file) =>
    existsSync(file),
  );
  if (!image) throw new ScriptError(`${folder} holds no vmlinuz`);
  return { packages: listed(folder), release, modules: join(modules, release), image };
}

function listed(folder: string): string[] {
  const file = join(folder, 'packages');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}
