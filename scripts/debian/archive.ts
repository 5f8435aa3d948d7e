// Packages of Debian releases other than the machine's, fetched and unpacked without a trace of it in the system.
//
// By apt with a list of sources and folders of its own: nothing is installed, no root is needed, and the machine's
// own lists are not touched. dpkg-deb only unpacks.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScriptError, UnavailableError } from '../errors.ts';
import { debianMirror, debianSecurityMirror } from '../fresh/network.ts';
import { type CommandOptions, capture } from '../setup/run.ts';

/** apt's answer. @throws UnavailableError where there is no apt, or it cannot reach its archive */
function apt(
  program: 'apt-get' | 'apt-cache',
  args: readonly string[],
  options: CommandOptions = {},
): string {
  try {
    return capture(program, args, options);
  } catch (error) {
    throw new UnavailableError((error as Error).message, { cause: error });
  }
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const STABLE = ['bookworm', 'trixie'];

export class DebianArchive {
  readonly #dir: string;
  readonly #options: readonly string[];

  /** @throws UnavailableError where the machine has no Debian archive, or it cannot be reached */
  constructor(releases: readonly string[]) {
    this.#dir = mkdtempSync(join(tmpdir(), `klpemu-debian-${releases[0]}-`));
    try {
      this.#options = this.#prepare(releases);
      apt('apt-get', [...this.#options, 'update', '-q']);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #prepare(releases: readonly string[]): string[] {
    const dir = this.#dir;
    const mirror = debianMirror();
    if (!mirror) throw new UnavailableError('no Debian archive is among the sources of apt here');
    const signedBy = existsSync(KEYRING) ? ` signed-by=${KEYRING}` : '';
    const security = debianSecurityMirror();
    const sources = releases.flatMap((release) => [
      `deb [arch=amd64${signedBy}] ${mirror} ${release} main\n`,
      // Backports and sid have no security updates of their own.
      ...(security && STABLE.includes(release)
        ? [`deb [arch=amd64${signedBy}] ${security} ${release}-security main\n`]
        : []),
    ]);
    writeFileSync(join(dir, 'sources.list'), sources.join(''));
    // What is installed here is of no interest: apt would take it for a version of the release's.
    writeFileSync(join(dir, 'status'), '');
    for (const folder of ['lists/partial', 'cache/archives/partial']) {
      mkdirSync(join(dir, folder), { recursive: true });
    }
    return [
      `Dir::Etc::sourcelist=${dir}/sources.list`,
      'Dir::Etc::sourceparts=-',
      `Dir::State::Lists=${dir}/lists`,
      `Dir::State::status=${dir}/status`,
      `Dir::Cache=${dir}/cache`,
      'APT::Architecture=amd64',
      'Acquire::Languages=none',
    ].flatMap((option) => ['-o', option]);
  }

  /** Packages whose names begin so. */
  names(prefix: string): string[] {
    return apt('apt-cache', [...this.#options, 'pkgnames', prefix])
      .split('\n')
      .filter((name) => name.startsWith(prefix))
      .sort();
  }

  #has(name: string): boolean {
    const policy = apt('apt-cache', [...this.#options, 'policy', name]);
    return policy.startsWith(`${name}:`);
  }

  /** Names of packages that one depends on, each the first of its alternatives, without versions. */
  dependencies(name: string): string[] {
    const said = apt('apt-cache', [...this.#options, 'show', '--no-all-versions', name]);
    const depends = /^Depends: (.*)$/m.exec(said)?.[1] ?? '';
    return depends.split(/,\s*/).flatMap((one) => /^[\w.+-]+/.exec(one)?.[0] ?? []);
  }

  /** Unpacks packages and all that they depend on into a folder that has nothing yet. No script of theirs is run. */
  unpackWhole(names: readonly string[], into: string): void {
    const folder = mkdtempSync(join(this.#dir, 'debs-'));
    mkdirSync(join(folder, 'partial'));
    const options = [...this.#options, '-o', `Dir::Cache::archives=${folder}`];
    const install = ['install', '-q', '-y', '--download-only', '--no-install-recommends'];
    apt('apt-get', [...options, ...install, ...names]);
    mkdirSync(into, { recursive: true });
    for (const deb of readdirSync(folder).filter((file) => file.endsWith('.deb')))
      capture('dpkg-deb', ['-x', join(folder, deb), into]);
    rmSync(folder, { recursive: true });
  }

  /**
   * Unpacks a package into a folder, beside what is there. `names`: with `|` between names that one package has in
   * different releases. @returns the name of its file, which has the version
   */
  unpack(names: string, into: string): string {
    const all = names.split('|');
    const name = all.length === 1 ? names : (all.find((one) => this.#has(one)) ?? all[0]);
    const folder = mkdtempSync(join(this.#dir, 'deb-'));
    apt('apt-get', [...this.#options, 'download', '-q', name], { cwd: folder });
    const deb = readdirSync(folder).find((file) => file.endsWith('.deb'));
    if (!deb) throw new ScriptError(`apt-get download left no package of ${name}`);
    mkdirSync(into, { recursive: true });
    capture('dpkg-deb', ['-x', join(folder, deb), into]);
    rmSync(folder, { recursive: true });
    return deb;
  }
}

/** `work` with an archive that is closed in any case. */
export function withArchive<Result>(
  releases: readonly string[],
  work: (archive: DebianArchive) => Result,
): Result {
  const archive = new DebianArchive(releases);
  try {
    return work(archive);
  } finally {
    archive.close();
  }
}
