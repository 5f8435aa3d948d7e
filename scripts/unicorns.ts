// Fetches the Unicorn library of each Debian release, for the tests that run with every one of them.
//
//   npm run unicorns       .cache/unicorns/RELEASE/libunicorn.so.2
//
// By apt with a list of sources and folders of its own: nothing is installed, no root is needed, and the machine's
// own lists are not touched. dpkg-deb only unpacks.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScriptError } from './errors.ts';
import { debianMirror } from './fresh/network.ts';
import { ROOT } from './root.ts';
import { capture } from './setup/run.ts';

const CACHE = join(ROOT, '.cache/unicorns');
const RELEASES = { bookworm: 'libunicorn2', trixie: 'libunicorn2t64', sid: 'libunicorn2t64' };
const LIBRARY = 'libunicorn.so.2';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

function fetch(release: string, name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `klpemu-unicorn-${release}-`));
  try {
    const signedBy = existsSync(KEYRING) ? ` signed-by=${KEYRING}` : '';
    const mirror = debianMirror();
    if (!mirror) throw new ScriptError('no Debian archive is among the sources of apt here');
    writeFileSync(join(dir, 'sources.list'), `deb [arch=amd64${signedBy}] ${mirror} ${release} main\n`);
    // What is installed here is of no interest: apt would take it for a version of the release's.
    writeFileSync(join(dir, 'status'), '');
    for (const folder of ['lists/partial', 'cache/archives/partial']) {
      mkdirSync(join(dir, folder), { recursive: true });
    }
    const options = [
      `Dir::Etc::sourcelist=${dir}/sources.list`,
      'Dir::Etc::sourceparts=-',
      `Dir::State::Lists=${dir}/lists`,
      `Dir::State::status=${dir}/status`,
      `Dir::Cache=${dir}/cache`,
      'APT::Architecture=amd64',
      'Acquire::Languages=none',
    ].flatMap((option) => ['-o', option]);
    capture('apt-get', [...options, 'update', '-q']);
    capture('apt-get', [...options, 'download', '-q', name], { cwd: dir });
    const deb = readdirSync(dir).find((file) => file.endsWith('.deb'));
    if (!deb) throw new ScriptError('apt-get download left no package');
    capture('dpkg-deb', ['-x', join(dir, deb), join(dir, 'unpacked')]);
    mkdirSync(join(CACHE, release), { recursive: true });
    const library = join(dir, 'unpacked/usr/lib/x86_64-linux-gnu', LIBRARY);
    copyFileSync(library, join(CACHE, release, LIBRARY));
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
