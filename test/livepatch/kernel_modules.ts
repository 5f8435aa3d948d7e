// The kernel's own modules for trying livepatch, built unmodified by kbuild: lib/livepatch and samples/livepatch.
//
// Their sources come with the kernel's source package and never with this repository. What was built is kept in
// .cache/kernel-modules and built again when a source changes.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/guest/package_root.ts';

/** A tarball of the package linux-source-6.1, or a directory that holds what is in it. */
const TARBALL = '/usr/src/linux-source-6.1.tar.xz';
const FOLDERS = ['lib/livepatch', 'samples/livepatch'] as const;
const CACHE = join(packageRoot(), '.cache/kernel-modules');

export type KernelModules = ReadonlyMap<string, Uint8Array>;

/**
 * The modules by name (underscores); or why there are none here.
 * @throws Error where they were asked for and cannot be had: what cannot be tried has not passed
 */
export function kernelModules(): KernelModules | string {
  const found = findModules();
  if (typeof found === 'string' && process.env.KLPEMU_BUILD_KERNEL_MODULES) throw new Error(found);
  return found;
}

function findModules(): KernelModules | string {
  const build = buildDir();
  if (!build) return 'no kernel headers: install linux-headers-amd64';
  const key = createHash('sha256').update(build).update(sourceId()).digest('hex').slice(0, 16);
  const kept = join(CACHE, key);
  if (!existsSync(kept)) {
    if (!process.env.KLPEMU_BUILD_KERNEL_MODULES) return 'not built yet: npm run samples builds them';
    if (sourceId() === '') return 'no kernel source: install linux-source-6.1';
    const failure = make(build, kept);
    if (failure) return failure;
  }
  const names = readdirSync(kept).filter((name) => name.endsWith('.ko'));
  return new Map(
    names.map((name) => [name.slice(0, -3).replaceAll('-', '_'), readFileSync(join(kept, name))]),
  );
}

function buildDir(): string | undefined {
  const base = '/lib/modules';
  if (!existsSync(base)) return undefined;
  const releases = readdirSync(base).filter((name) => name.startsWith('6.1.') && !name.includes('rt'));
  return releases.map((name) => join(base, name, 'build')).find((dir) => existsSync(join(dir, 'Makefile')));
}

function sourceTree(): string | undefined {
  const tree = process.env.KLPEMU_KERNEL_SOURCE;
  return tree && existsSync(join(tree, FOLDERS[0])) ? tree : undefined;
}

function sourceId(): string {
  const tree = sourceTree();
  if (tree) return tree;
  return existsSync(TARBALL) ? TARBALL : '';
}

/** Unpacks, builds and keeps the modules. @returns what went wrong. */
function make(build: string, kept: string): string | undefined {
  const work = mkdtempSync(join(tmpdir(), 'klpemu-kernel-modules-'));
  try {
    unpack(work);
    const out = join(work, 'out');
    mkdirSync(out);
    for (const folder of FOLDERS) {
      const dir = join(work, folder);
      const config = ['CONFIG_TEST_LIVEPATCH=m', 'CONFIG_SAMPLE_LIVEPATCH=m', 'KCFLAGS=-g0'];
      execFileSync('make', ['-s', '-C', build, `M=${dir}`, ...config, 'modules'], { stdio: 'pipe' });
      for (const ko of readdirSync(dir).filter((name) => name.endsWith('.ko')))
        cpSync(join(dir, ko), join(out, ko));
    }
    mkdirSync(CACHE, { recursive: true });
    renameOrCopy(out, kept);
    return undefined;
  } catch (error) {
    return `the kernel's modules cannot be built: ${(error as Error).message.split('\n')[0]}`;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function unpack(work: string): void {
  const tree = sourceTree();
  if (tree) {
    for (const folder of FOLDERS) cpSync(join(tree, folder), join(work, folder), { recursive: true });
    return;
  }
  const members = FOLDERS.map((folder) => `linux-source-6.1/${folder}`);
  execFileSync('tar', ['-xJf', TARBALL, '-C', work, '--strip-components=1', ...members], { stdio: 'pipe' });
}

/** Whole or not at all, also across file systems; where another process was first, what it made is as good. */
function renameOrCopy(from: string, to: string): void {
  const part = `${to}.${process.pid}`;
  cpSync(from, part, { recursive: true });
  try {
    renameSync(part, to);
  } catch (error) {
    rmSync(part, { recursive: true, force: true });
    if (!existsSync(to)) throw error;
  }
}
