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
import { ScriptUsageError } from '../errors.ts';
import { kernelBuildDir } from '../kernel-headers.ts';
import type { Log, Run } from '../setup/run.ts';

const SOURCE = '/usr/src/linux-source-6.1.tar.xz';
const PACKAGES = ['linux-headers-amd64', 'linux-source-6.1', 'gcc', 'make', 'xz-utils'];
const MODULES = 'lib/livepatch';
const TESTS = 'tools/testing/selftests/livepatch';

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

/** Sees to the sources and the modules. Every step is skipped when its result is there and as it was. */
export function ensureSources(cache: string, { run, log }: Port): Sources {
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
  const args = ['-s', '-C', build, `M=${target}`, 'CONFIG_TEST_LIVEPATCH=m', 'KCFLAGS=-g0', 'modules'];
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
