// Fetches Debian's objtool of later kernels, to judge tables by, and to make those of fixtures.
//
//   npm run objtools       .cache/objtools/KERNEL, a program for each kernel
//
// They are of another release and need its C library: each is started by the loader that comes with it.

import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DebianArchive, withArchive } from './debian/archive.ts';
import { newest } from './debian/kernels.ts';
import { ScriptError } from './errors.ts';
import { ROOT } from './root.ts';

const CACHE = join(ROOT, '.cache/objtools');
const RELEASES = ['trixie', 'trixie-backports'];
const LIBRARIES = ['libc6', 'libelf1t64', 'zlib1g', 'libzstd1'];
const KERNELS = ['6.12', '7.3'];

function fetch(archive: DebianArchive, kernel: string): string {
  const name = newest(kernel, archive.names('linux-kbuild-'), /^linux-kbuild-(.+)$/);
  if (!name) throw new ScriptError(`no linux-kbuild of ${kernel} in ${RELEASES.join(' or ')}`);
  const dir = join(CACHE, `files-${kernel}`);
  const deb = archive.unpack(name, dir);
  for (const library of LIBRARIES) archive.unpack(library, dir);
  const [kbuild] = readdirSync(join(dir, 'usr/lib')).filter((file) => file.startsWith('linux-kbuild-'));
  const program = join(dir, 'usr/lib', kbuild, 'tools/objtool/objtool.real-x86');
  const libraries = join(dir, 'usr/lib/x86_64-linux-gnu');
  const loader = join(libraries, 'ld-linux-x86-64.so.2');
  const script = join(CACHE, kernel);
  writeFileSync(script, `#!/bin/sh\nexec '${loader}' --library-path '${libraries}' '${program}' "$@"\n`);
  chmodSync(script, 0o755);
  return deb;
}

export function main(): void {
  mkdirSync(CACHE, { recursive: true });
  const missing = KERNELS.filter((kernel) => !existsSync(join(CACHE, kernel)));
  if (missing.length === 0) return;
  withArchive(RELEASES, (archive) => {
    for (const kernel of missing) console.log(`${kernel}: ${fetch(archive, kernel)}`);
  });
}
