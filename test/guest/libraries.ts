// The Unicorn libraries that tests can run with: the one in use here, and those that `npm run unicorns` fetched.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { chooseUnicorn, tryUnicorn } from '../../src/arch/x86_64/unicorn/unicorn_choice.ts';
import { packageRoot } from '../../src/guest/package_root.ts';

import { NO_UNICORN } from './unicorn_there.ts';

/** One folder a release, with the library of its Debian package. */
const FETCHED = join(packageRoot(), '.cache/unicorns');
/** Debian 12's, 13's and sid's. */
const WANTED = ['2.0.1', '2.1.1', '2.1.4'];

/** Version and path of each, by version. */
function libraries(): Map<string, string> {
  const found = new Map<string, string>();
  if (!NO_UNICORN) {
    const { path, version } = chooseUnicorn();
    found.set(version, path);
  }
  const releases = existsSync(FETCHED) ? readdirSync(FETCHED) : [];
  for (const release of releases.sort()) {
    const fetched = tryUnicorn(join(FETCHED, release, 'libunicorn.so.2'));
    if (!found.has(fetched.version)) found.set(fetched.version, fetched.path);
  }
  return found;
}

/** Runs a suite with each library that is there; a version of Debian's that is not is a skipped test that says so. */
export function describeEachLibrary(name: string, suite: () => void): void {
  const found = libraries();
  for (const [version, path] of found) {
    describe(`${name}, Unicorn ${version}`, () => {
      const before = process.env.KLPEMU_UNICORN;
      beforeAll(() => {
        process.env.KLPEMU_UNICORN = path;
      });
      afterAll(() => {
        if (before === undefined) delete process.env.KLPEMU_UNICORN;
        else process.env.KLPEMU_UNICORN = before;
      });
      suite();
    });
  }
  for (const version of WANTED.filter((wanted) => !found.has(wanted))) {
    it.skip(`${name}, Unicorn ${version}: not here; npm run unicorns fetches it`, () => {});
  }
}
