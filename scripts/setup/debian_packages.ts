// Packages of any Debian release, unpacked into a folder: by apt with a list of sources and folders of its own. Nothing is
// installed, no root is needed, and the machine's own lists are not touched. dpkg-deb only unpacks.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScriptError } from '../errors.ts';
import { debianMirror } from '../fresh/network.ts';
import { capture } from './run.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** `names`: with `|` between names that one package has in different releases. @returns the packages' files. */
export function unpackPackages(release: string, names: readonly string[], folder: string): string[] {
  const dir = mkdtempSync(join(tmpdir(), `klpemu-packages-${release}-`));
  try {
    const signedBy = existsSync(KEYRING) ? ` signed-by=${KEYRING}` : '';
    const mirror = debianMirror();
    if (!mirror) throw new ScriptError('no Debian archive is among the sources of apt here');
    writeFileSync(join(dir, 'sources.list'), `deb [arch=amd64${signedBy}] ${mirror} ${release} main\n`);
    // What is installed here is of no interest: apt would take it for a version of the release's.
    writeFileSync(join(dir, 'status'), '');
    for (const below of ['lists/partial', 'cache/archives/partial']) {
      mkdirSync(join(dir, below), { recursive: true });
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
    const all = names.flatMap((name) => name.split('|'));
    const policy = capture('apt-cache', [...options, 'policy', ...all]);
    const known = new Set([...policy.matchAll(/^(\S+):$/gm)].map(([, name]) => name));
    const wanted = names.map((name) => name.split('|').find((one) => known.has(one)) ?? name.split('|')[0]);
    capture('apt-get', [...options, 'download', '-q', ...wanted], { cwd: dir });
    const packages = readdirSync(dir).filter((file) => file.endsWith('.deb'));
    if (packages.length < names.length) throw new ScriptError(`apt-get download left no ${names.join(', ')}`);
    for (const file of packages) capture('dpkg-deb', ['-x', join(dir, file), folder]);
    return packages;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
