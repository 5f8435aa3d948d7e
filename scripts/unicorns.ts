// Fetches the Unicorn library of each Debian release, for the tests that run with every one of them.
//
//   npm run unicorns       .cache/unicorns/RELEASE/libunicorn.so.2

import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withArchive } from './debian/archive.ts';
import { ROOT } from './root.ts';

const CACHE = join(ROOT, '.cache/unicorns');
const RELEASES = { bookworm: 'libunicorn2', trixie: 'libunicorn2t64', sid: 'libunicorn2t64' };
const LIBRARY = 'libunicorn.so.2';

function fetch(release: string, name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `klpemu-unicorn-${release}-`));
  try {
    const deb = withArchive([release], (archive) => archive.unpack(name, dir));
    mkdirSync(join(CACHE, release), { recursive: true });
    copyFileSync(join(dir, 'usr/lib/x86_64-linux-gnu', LIBRARY), join(CACHE, release, LIBRARY));
    return deb;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export function main(): void {
  for (const [release, name] of Object.entries(RELEASES)) {
    if (!existsSync(join(CACHE, release, LIBRARY))) console.log(`${release}: ${fetch(release, name)}`);
  }
}
