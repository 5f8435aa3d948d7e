// Sees to the native Unicorn library: what is there is used, else Debian's package is installed as root, or
// unpacked into the checkout without it.

import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Debian 12's name, and that of releases after the change of time_t. */
const PACKAGES = ['libunicorn2', 'libunicorn2t64'];

/**
 * @typedef {object} UnicornPort
 * @property {(search: {root: string}) => {path: string, from: string} | undefined} find
 * @property {() => string} missingMessage
 * @property {(command: string, args: string[], options?: object) => void} run
 * @property {(line: string) => void} log
 * @property {boolean} isRoot
 * @property {boolean} hasApt
 */

/**
 * @param {string} root
 * @param {UnicornPort} port
 */
export function ensureUnicorn(root, port) {
  const found = port.find({ root });
  if (found) return found;
  if (port.hasApt) {
    if (port.isRoot) attempt(port, 'installing the Unicorn library by apt', () => installByApt(port));
    const afterApt = port.find({ root });
    if (afterApt) return afterApt;
    attempt(port, 'unpacking the Unicorn library into .cache/unicorn', () => unpackIntoCache(root, port));
    const afterUnpack = port.find({ root });
    if (afterUnpack) return afterUnpack;
  }
  throw new Error(port.missingMessage());
}

function attempt(port, what, action) {
  port.log(what);
  try {
    action();
  } catch (error) {
    port.log(`${what} failed: ${error.message}`);
  }
}

/** Package lists may be absent or out of date: the update is made when the first try fails. */
function installByApt(port) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = (name) => () =>
    port.run('apt-get', ['install', '-y', '-q', '--no-install-recommends', name], { env });
  const update = () => port.run('apt-get', ['update', '-q'], { env });
  firstThatWorks([install(PACKAGES[0]), inTurn(update, install(PACKAGES[0])), install(PACKAGES[1])]);
}

/**
 * `apt-get download` needs no root, but the lists do: where the system has none, lists of our own are fetched.
 * dpkg-deb only unpacks; nothing of the package is run.
 */
function unpackIntoCache(root, port) {
  const cache = join(root, '.cache/unicorn');
  rmSync(cache, { recursive: true, force: true });
  const download = join(cache, 'deb');
  mkdirSync(download, { recursive: true });
  const own = ownAptDirs(cache);
  const get = (name, options) => () =>
    port.run('apt-get', [...options, 'download', '-q', name], { cwd: download });
  firstThatWorks([
    get(PACKAGES[0], []),
    inTurn(() => port.run('apt-get', [...own, 'update', '-q']), get(PACKAGES[0], own)),
    get(PACKAGES[1], own),
  ]);
  const deb = readdirSync(download).find((name) => name.endsWith('.deb'));
  if (!deb) throw new Error('apt-get download left no package');
  port.run('dpkg-deb', ['-x', join(download, deb), cache]);
  rmSync(download, { recursive: true });
  rmSync(join(cache, 'apt'), { recursive: true, force: true });
}

function ownAptDirs(cache) {
  const state = join(cache, 'apt/state');
  const archives = join(cache, 'apt/cache');
  mkdirSync(join(state, 'lists/partial'), { recursive: true });
  mkdirSync(join(archives, 'archives/partial'), { recursive: true });
  const status = '/var/lib/dpkg/status';
  const options = [`Dir::State=${state}`, `Dir::Cache=${archives}`];
  if (existsSync(status)) options.push(`Dir::State::status=${status}`);
  return options.flatMap((option) => ['-o', option]);
}

function inTurn(...actions) {
  return () => {
    for (const action of actions) action();
  };
}

function firstThatWorks(actions) {
  let last;
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
