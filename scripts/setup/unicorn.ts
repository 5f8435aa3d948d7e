// Sees to a native Unicorn library that fits: what is there and fits is used, else Debian's package is installed as
// root, or unpacked into the checkout without it. A library is good when an engine of it was opened and calibrated.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptError } from '../errors.ts';
import type { Capture, Log } from './run.ts';

/** The name since the change of time_t, and the one before (Debian 12, Ubuntu 22.04). */
const PACKAGES = ['libunicorn2t64', 'libunicorn2'];

interface Candidate {
  readonly path: string;
  readonly from: string;
}

type Probed = { readonly version: string } | { readonly misfit: string };

export interface UsableUnicorn extends Candidate {
  readonly version: string;
  /** One before it did not fit. */
  readonly afterMisfit: boolean;
}

export interface UnicornPort {
  candidates(search: { root: string }): Candidate[];
  /** Opens an engine and calibrates it. */
  probe(path: string): Probed;
  missingMessage(): string;
  /** What to install, and the variable. */
  readonly ways: readonly string[];
  /** Quiet unless it fails. */
  readonly capture: Capture;
  readonly log: Log;
  readonly isRoot: boolean;
  readonly hasApt: boolean;
}

export function ensureUnicorn(root: string, port: UnicornPort): UsableUnicorn {
  const look = finder(root, port);
  const actions: [string, () => void][] = [];
  if (port.hasApt && port.isRoot) {
    actions.push(['installing the Unicorn library by apt', () => installByApt(port)]);
  }
  if (port.hasApt) {
    actions.push(['unpacking the Unicorn library into .cache/unicorn', () => unpackIntoCache(root, port)]);
  }
  let found = look.first();
  for (const [what, action] of actions) {
    if (found || look.misfits.some(({ from }) => from === 'KLPEMU_UNICORN')) break;
    port.log(what);
    try {
      action();
    } catch (error) {
      port.log(`${what} failed: ${error instanceof Error ? error.message : error}`);
    }
    found = look.first();
  }
  if (found) {
    const afterMisfit = look.misfits.length > 0;
    if (afterMisfit) port.log(`${found.path} (version ${found.version}) fits, and is used instead`);
    return { ...found, afterMisfit };
  }
  throw new ScriptError(whyNone(look.misfits, port));
}

/**
 * In a process of its own: a library that does not fit may end it.
 * @param program src/arch/x86_64/unicorn/unicorn_probe.ts, bundled
 */
export function probeUnicorn(program: string, path: string): Probed {
  const { status, signal, error, stdout } = spawnSync(process.execPath, [program, path], {
    encoding: 'utf8',
  });
  if (status === 0) return JSON.parse(stdout);
  return {
    misfit: error?.message ?? `it ended the process that tried it, ${signal ?? `exit status ${status}`}`,
  };
}

/** Looks through the candidates; one that does not fit is told once, and not tried again unless the file is another. */
function finder(root: string, port: UnicornPort) {
  const misfits: Candidate[] = [];
  const tried = new Set<string>();
  const first = (): (Candidate & { version: string }) | undefined => {
    for (const candidate of port.candidates({ root })) {
      const { size, mtimeMs } = statSync(candidate.path);
      const file = `${candidate.path} ${size} ${mtimeMs}`;
      if (tried.has(file)) continue;
      tried.add(file);
      const result = port.probe(candidate.path);
      if ('version' in result) return { ...candidate, version: result.version };
      misfits.push(candidate);
      port.log(`the Unicorn library ${candidate.path} does not fit (${result.misfit})`);
    }
    return undefined;
  };
  return { first, misfits };
}

function whyNone(misfits: readonly Candidate[], port: UnicornPort): string {
  if (misfits.length === 0) return port.missingMessage();
  const named = misfits.some(({ from }) => from === 'KLPEMU_UNICORN');
  return [
    named
      ? 'KLPEMU_UNICORN names a library that does not fit. Unset it, name another, or install one:'
      : 'no Unicorn library that fits was found. Install one:',
    ...port.ways,
  ].join('\n');
}

/** Package lists may be absent or out of date: they are updated when they have no such package, or it cannot be had. */
function installByApt(port: UnicornPort): void {
  const options = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
  const install = () =>
    port.capture(
      'apt-get',
      ['install', '-y', '-q', '--no-install-recommends', packageName(port, [])],
      options,
    );
  firstThatWorks([
    install,
    () => {
      port.capture('apt-get', ['update', '-q'], options);
      install();
    },
  ]);
}

/**
 * `apt-get download` needs no root, but the lists do: where the system has none, lists of our own are fetched.
 * dpkg-deb only unpacks; nothing of the package is run.
 */
function unpackIntoCache(root: string, port: UnicornPort): void {
  const cache = join(root, '.cache/unicorn');
  rmSync(cache, { recursive: true, force: true });
  const download = join(cache, 'deb');
  mkdirSync(download, { recursive: true });
  const own = ownAptDirs(cache);
  const get = (options: readonly string[]): string =>
    port.capture('apt-get', [...options, 'download', '-q', packageName(port, options)], { cwd: download });
  firstThatWorks([
    () => get([]),
    () => {
      port.capture('apt-get', [...own, 'update', '-q']);
      get(own);
    },
  ]);
  const deb = readdirSync(download).find((name) => name.endsWith('.deb'));
  if (!deb) throw new ScriptError('apt-get download left no package');
  port.capture('dpkg-deb', ['-x', join(download, deb), cache]);
  rmSync(download, { recursive: true });
  rmSync(join(cache, 'apt'), { recursive: true, force: true });
}

/** Asked of the lists first: installing by a name that a release does not have would print its errors. */
function packageName(port: UnicornPort, options: readonly string[]): string {
  const known = port.capture('apt-cache', [...options, 'pkgnames', 'libunicorn2']).split('\n');
  const name = PACKAGES.find((candidate) => known.includes(candidate));
  if (!name) throw new ScriptError(`apt's package lists have neither ${PACKAGES.join(' nor ')}`);
  return name;
}

function ownAptDirs(cache: string): string[] {
  const state = join(cache, 'apt/state');
  const archives = join(cache, 'apt/cache');
  mkdirSync(join(state, 'lists/partial'), { recursive: true });
  mkdirSync(join(archives, 'archives/partial'), { recursive: true });
  const status = '/var/lib/dpkg/status';
  const options = [`Dir::State=${state}`, `Dir::Cache=${archives}`];
  if (existsSync(status)) options.push(`Dir::State::status=${status}`);
  return options.flatMap((option) => ['-o', option]);
}

function firstThatWorks(actions: readonly (() => unknown)[]): void {
  let last: unknown;
  for (const action of actions) {
    try {
      action();
      return;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
