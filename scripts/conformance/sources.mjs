// Where the kernel's selftests and their modules come from: Debian's packages, unpacked and built in .cache/conformance.
// Nothing of them is kept elsewhere.

import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { kernelBuildDir } from '../kernel-headers.mjs';

const SOURCE = '/usr/src/linux-source-6.1.tar.xz';
const PACKAGES = ['linux-headers-amd64', 'linux-source-6.1', 'gcc', 'make', 'xz-utils'];
const MODULES = 'lib/livepatch';
const TESTS = 'tools/testing/selftests/livepatch';

/**
 * Sees to the sources and the modules. Every step is skipped when its result is there and as it was.
 * @returns {{ modules: string, tests: string }} directories of the .ko files and of the untouched scripts
 */
export function ensureSources(cache, { run, log }) {
  const build = ensurePackages({ run, log });
  mkdirSync(cache, { recursive: true });
  const tree = join(cache, 'linux');
  once(join(cache, '.unpacked'), stampOf(SOURCE), () => {
    log(`unpacking ${MODULES} and ${TESTS} (some 20 seconds)`);
    rmSync(tree, { recursive: true, force: true });
    mkdirSync(tree);
    const top = 'linux-source-6.1';
    run('tar', ['-xJf', SOURCE, '-C', tree, '--strip-components=1', `${top}/${MODULES}`, `${top}/${TESTS}`]);
  });
  const modules = join(cache, 'modules');
  once(join(cache, '.built'), `${stampOf(SOURCE)} ${build}`, () => {
    log('building the test modules with kbuild');
    buildModules(join(tree, MODULES), modules, build, run);
  });
  return { modules, tests: join(tree, TESTS) };
}

function ensurePackages({ run, log }) {
  try {
    const build = kernelBuildDir();
    if (existsSync(SOURCE)) return build;
  } catch {}
  if (process.getuid?.() !== 0) {
    throw new Error(
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
function buildModules(source, target, build, run) {
  rmSync(target, { recursive: true, force: true });
  cpSync(source, target, { recursive: true });
  const args = ['-s', '-C', build, `M=${target}`, 'CONFIG_TEST_LIVEPATCH=m', 'KCFLAGS=-g0', 'modules'];
  run('make', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const modules = readdirSync(target).filter((name) => name.endsWith('.ko'));
  run('strip', ['--strip-debug', ...modules.map((name) => join(target, name))]);
}

/** Does a step unless it was done from the same input. */
function once(file, stamp, step) {
  if (existsSync(file) && readFileSync(file, 'utf8') === stamp) return;
  rmSync(file, { force: true });
  step();
  writeFileSync(file, stamp);
}

function stampOf(file) {
  const { size, mtimeMs } = statSync(file);
  return `${size} ${mtimeMs}`;
}
