// Where the kernel's selftests and their modules come from: Debian's packages, unpacked and built in .cache/conformance.
// Nothing of them is kept elsewhere.

import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { withArchive } from '../debian/archive.ts';
import { BOOTED, type BootedVersion, bootedImage } from '../debian/booted.ts';
import { KbuildRoot } from '../debian/kbuild_root.ts';
import { KERNELS } from '../debian/kernels.ts';
import { ScriptError, ScriptUsageError } from '../errors.ts';
import { kernelBuildDir } from '../kernel-headers.ts';
import type { Log, Run } from '../setup/run.ts';

const SOURCE = '/usr/src/linux-source-6.1.tar.xz';
const PACKAGES = ['linux-headers-amd64', 'linux-source-6.1', 'gcc', 'make', 'xz-utils'];
const TESTS = 'tools/testing/selftests/livepatch';
const MODULES = 'lib/livepatch';
/** Kernels whose selftests run on their own images: where their sources have the modules of the tests. */
const MODULES_OF: Readonly<Record<BootedVersion, string>> = {
  '6.1': MODULES,
  '6.12': `${TESTS}/test_modules`,
  '7.3': `${TESTS}/test_modules`,
};
const OF_6_1 = ['CONFIG_TEST_LIVEPATCH=m'];

interface Port {
  readonly run: Run;
  readonly log: Log;
}

export interface Sources {
  /** The folder of the .ko files. */
  readonly modules: string;
  /** That of the untouched scripts. */
  readonly tests: string;
}

/** Sees to the sources and the modules of the built-in kernel's. Every step is skipped when its result is there and as it was. */
export function ensureSources(cache: string, { run, log }: Port): Sources {
  const build = ensurePackages({ run, log });
  mkdirSync(cache, { recursive: true });
  const tree = join(cache, 'linux');
  once(join(cache, '.unpacked'), stampOf(SOURCE), () => {
    log(`unpacking ${MODULES} and ${TESTS} (some 20 seconds)`);
    rmSync(tree, { recursive: true, force: true });
    unpackSource(SOURCE, [MODULES, TESTS], tree, run);
  });
  const modules = join(cache, 'modules');
  once(join(cache, '.built'), `${stampOf(SOURCE)} ${build}`, () => {
    log('building the test modules with kbuild');
    buildModules(join(tree, MODULES), modules, build, run);
  });
  return { modules, tests: join(tree, TESTS) };
}

/** As ensureSources(), for a kernel that boots, and its image. Nothing is installed, and no root is needed. */
export function ensureKernelSources(
  cache: string,
  kernels: string,
  version: string,
  { run, log }: Port,
): Sources & { readonly image: string } {
  if (!isBooted(version))
    throw new ScriptUsageError(`--kernel ${version}: ${Object.keys(BOOTED).join(', ')}`);
  const image = bootedImage(version, kernels);
  const { release, package: name } = BOOTED[version];
  if (image === undefined) throw new ScriptError(`${name} of Debian holds no vmlinuz`);
  const folder = join(cache, version);
  mkdirSync(folder, { recursive: true });
  once(join(folder, '.built'), release, () => {
    log(
      `fetching sources and headers of ${release}, and the compiler of its modules (250 MB, a few minutes)`,
    );
    build(folder, version, { run, log });
  });
  return { modules: join(folder, 'modules'), tests: join(folder, 'linux', TESTS), image };
}

const isBooted = (version: string): version is BootedVersion => Object.hasOwn(BOOTED, version);

/** The scripts of a kernel and their modules into a folder; headers, compiler and the rest of the sources are not kept. */
function build(folder: string, version: BootedVersion, { run, log }: Port): void {
  const { release } = BOOTED[version];
  const from = MODULES_OF[version];
  const work = join(folder, 'part');
  // Of a run that was ended.
  rmSync(work, { recursive: true, force: true });
  try {
    withArchive(KERNELS[version], (archive) => {
      const root = KbuildRoot.unpack(archive, release, join(work, 'root'));
      // Sources and headers are of one package, so of one version.
      archive.unpack(`linux-source-${version}=${root.version}`, work);
      const source = join(work, `usr/src/linux-source-${version}.tar.xz`);
      unpackSource(source, from.startsWith(TESTS) ? [TESTS] : [from, TESTS], join(work, 'linux'), run);
      log('building the test modules with kbuild');
      root.build(join(work, 'linux', from), join(work, 'modules'), version === '6.1' ? OF_6_1 : []);
    });
    for (const name of ['modules', 'linux']) {
      rmSync(join(folder, name), { recursive: true, force: true });
      renameSync(join(work, name), join(folder, name));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function unpackSource(source: string, paths: readonly string[], into: string, run: Run): void {
  mkdirSync(into, { recursive: true });
  const top = /linux-source-[\d.]+\d/.exec(source)?.[0];
  if (top === undefined) throw new ScriptError(`${source}: the name has no version`);
  const wanted = paths.map((path) => `${top}/${path}`);
  run('tar', ['-xJf', source, '-C', into, '--strip-components=1', ...wanted]);
}

function ensurePackages({ run, log }: Port): string {
  try {
    const build = kernelBuildDir();
    if (existsSync(SOURCE)) return build;
  } catch {}
  if (process.getuid?.() !== 0) {
    throw new ScriptUsageError(
      `the packages ${PACKAGES.join(', ')} of Debian 12 are needed; as root this installs them`,
    );
  }
  log(`installing ${PACKAGES.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-q'], { env });
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...PACKAGES], { env });
  return kernelBuildDir();
}

/** By their own Makefile, out of tree; debug information is left out, it is only read from disk. */
function buildModules(source: string, target: string, build: string, run: Run): void {
  rmSync(target, { recursive: true, force: true });
  cpSync(source, target, { recursive: true });
  const args = ['-s', '-C', build, `M=${target}`, ...OF_6_1, 'KCFLAGS=-g0', 'modules'];
  run('make', args);
  const modules = readdirSync(target).filter((name) => name.endsWith('.ko'));
  run('strip', ['--strip-debug', ...modules.map((name) => join(target, name))]);
}

/** Does a step unless it was done from the same input. */
function once(file: string, stamp: string, step: () => void): void {
  if (existsSync(file) && readFileSync(file, 'utf8') === stamp) return;
  rmSync(file, { force: true });
  step();
  writeFileSync(file, stamp);
}

function stampOf(file: string): string {
  const { size, mtimeMs } = statSync(file);
  return `${size} ${mtimeMs}`;
}
