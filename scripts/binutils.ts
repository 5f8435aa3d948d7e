// Fetches the binutils of later Debian releases, which write and read SFrame 2 and 3, for fixtures/objects/unwinders and
// `npm run unwinders`.
//
//   npm run binutils       .cache/binutils/RELEASE/as, ld, objcopy, readelf
//
// They run with the libraries of their own release: those of this machine may be older.

import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withArchive } from './debian/archive.ts';
import { ROOT } from './root.ts';
import { oneAtATime } from './setup/one_at_a_time.ts';
import { capture } from './setup/run.ts';

export const BINUTILS = join(ROOT, '.cache/binutils');
export const RELEASES = ['trixie', 'sid'] as const;
const PACKAGES = [
  'binutils-x86-64-linux-gnu',
  'libbinutils',
  'libsframe3|libsframe2|libsframe1',
  'libjansson4',
  'libzstd1',
  'zlib1g',
  'libc6',
];
const TOOLS = ['as', 'ld', 'objcopy', 'readelf'];

export function fetchBinutils(release: string): void {
  const folder = join(BINUTILS, release);
  if (!existsSync(folder))
    oneAtATime(`${folder}.lock`, () => {
      if (!existsSync(folder)) fetchTo(folder, release);
    });
}

/** Whole or not at all. */
function fetchTo(folder: string, release: string): void {
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(join(part, 'root'), { recursive: true });
  withArchive([release], (archive) => {
    for (const name of PACKAGES) archive.unpack(name, join(part, 'root'));
  });
  const root = join(folder, 'root');
  for (const tool of TOOLS) {
    const program = `${root}/usr/bin/x86_64-linux-gnu-${tool}`;
    const command = `${root}/usr/lib64/ld-linux-x86-64.so.2 --library-path ${root}/usr/lib/x86_64-linux-gnu`;
    writeFileSync(join(part, tool), `#!/bin/sh\nexec ${command} ${program} "$@"\n`);
    chmodSync(join(part, tool), 0o755);
  }
  renameSync(part, folder);
}

/** As `as --version` says. */
export const binutilsVersion = (release: string): string =>
  capture(join(BINUTILS, release, 'as'), ['--version'])
    .split('\n')[0]
    .replace(/^.*\) /, '');

export function main(): void {
  for (const release of RELEASES) {
    fetchBinutils(release);
    console.log(`${release}: binutils ${binutilsVersion(release)}`);
  }
}
