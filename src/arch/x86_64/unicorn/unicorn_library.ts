// Where native Unicorn libraries are on this machine; whether one fits is found by trying it (unicorn_choice.ts).
//
// Pure Node, so that the setup script can ask before anything native is loaded. Order: KLPEMU_UNICORN,
// the checkout's .cache (where setup unpacks Debian's package), the system's library directories.

import { existsSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../../../guest/package_root.ts';

type ChildProcess = typeof import('node:child_process');

export interface UnicornSearch {
  env?: Record<string, string | undefined>;
  /** The folder that holds klpemu's package.json. */
  root?: string;
  platform?: string;
  /** Replaces the system's library directories. */
  systemDirs?: readonly string[];
}

interface UnicornLibrary {
  path: string;
  from: 'KLPEMU_UNICORN' | 'cache' | 'system';
}

export class UnicornNotFoundError extends Error {
  readonly code = 'ENOUNICORN';
  override readonly name = 'UnicornNotFoundError';
}

/** Path below the package's root where setup unpacks the library for people without root. */
export const UNICORN_CACHE = '.cache/unicorn';

const DEBIAN_TRIPLETS = ['x86_64-linux-gnu', 'aarch64-linux-gnu'];
const LINUX_DIRS = [
  ...DEBIAN_TRIPLETS.flatMap((triplet) => [`/usr/lib/${triplet}`, `/lib/${triplet}`]),
  '/usr/local/lib64',
  '/usr/local/lib',
  '/usr/lib64',
  '/usr/lib',
];
const MAC_DIRS = ['/opt/homebrew/lib', '/usr/local/lib', '/opt/local/lib'];

/**
 * The libraries to try, in their order, each file once. KLPEMU_UNICORN is the only one where it is set.
 * @throws UnicornNotFoundError when KLPEMU_UNICORN points to nothing
 */
export function unicornCandidates(search: UnicornSearch = {}): UnicornLibrary[] {
  const env = search.env ?? process.env;
  const platform = search.platform ?? process.platform;
  const names = libraryNames(platform);
  if (env.KLPEMU_UNICORN) return [{ path: fromEnv(env.KLPEMU_UNICORN, names), from: 'KLPEMU_UNICORN' }];
  const cached = existing(cacheDirs(search.root ?? packageRoot()), names);
  let system = existing(search.systemDirs ?? systemDirs(env, platform), names);
  if (system.length === 0 && !search.systemDirs) system = fromLoaderCache(platform, names);
  const found = [
    ...cached.map((path): UnicornLibrary => ({ path, from: 'cache' })),
    ...system.map((path): UnicornLibrary => ({ path, from: 'system' })),
  ];
  const files = new Set<string>();
  return found.filter(({ path }) => {
    const file = realpathSync(path);
    return !files.has(file) && files.add(file);
  });
}

export function unicornMissingMessage(): string {
  return ['the Unicorn library (libunicorn, version 2) was not found. Install it:', ...UNICORN_WAYS].join(
    '\n',
  );
}

/** What one does who has no library, or none that fits. */
export const UNICORN_WAYS: readonly string[] = [
  '  Debian, Ubuntu  apt install libunicorn2t64  (libunicorn2 up to Debian 12 and Ubuntu 22.04)',
  '  Fedora          dnf install unicorn',
  '  Arch            pacman -S unicorn',
  '  macOS           brew install unicorn',
  'or point the environment variable KLPEMU_UNICORN to the library file.',
];

/** Version 2's own name first: a bare libunicorn.so may be version 1. */
function libraryNames(platform: string): string[] {
  return platform === 'darwin'
    ? ['libunicorn.2.dylib', 'libunicorn.dylib']
    : ['libunicorn.so.2', 'libunicorn.so'];
}

function fromEnv(value: string, names: string[]): string {
  if (!existsSync(value)) throw new UnicornNotFoundError(`KLPEMU_UNICORN=${value}: no such file`);
  if (!statSync(value).isDirectory()) return value;
  const inside = existing([value], names)[0];
  if (inside) return inside;
  throw new UnicornNotFoundError(`KLPEMU_UNICORN=${value}: no ${names.join(' or ')} in this directory`);
}

function cacheDirs(root: string): string[] {
  const base = join(root, UNICORN_CACHE);
  return [base, ...DEBIAN_TRIPLETS.map((triplet) => join(base, 'usr/lib', triplet)), join(base, 'usr/lib')];
}

function systemDirs(env: Record<string, string | undefined>, platform: string): string[] {
  const mac = platform === 'darwin';
  const path = (mac ? env.DYLD_LIBRARY_PATH : env.LD_LIBRARY_PATH) ?? '';
  return [...path.split(':').filter(Boolean), ...(mac ? MAC_DIRS : LINUX_DIRS)];
}

/** Directories that only /etc/ld.so.conf knows; asked last, as it starts a process. */
function fromLoaderCache(platform: string, names: string[]): string[] {
  if (platform !== 'linux') return [];
  try {
    // Read only here: the library is nearly always found before, and every start would read it otherwise.
    const { execFileSync } = createRequire(import.meta.url)('node:child_process') as ChildProcess;
    const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
    const lines = execFileSync('ldconfig', ['-p'], {
      encoding: 'utf8',
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return names
      .map((name) => new RegExp(`^\\s*${name.replaceAll('.', '\\.')} .*=> (\\S+)$`, 'm').exec(lines)?.[1])
      .filter((path): path is string => path !== undefined && existsSync(path));
  } catch {
    return [];
  }
}

function existing(dirs: readonly string[], names: readonly string[]): string[] {
  return dirs.flatMap((dir) => names.map((name) => join(dir, name))).filter((path) => existsSync(path));
}
