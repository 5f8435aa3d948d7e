// The modules of fixtures/observed, with which Debian's kernels were observed, and of fixtures/vet, as kbuild makes them with the
// headers and the compiler of each; built once, in .cache/observed and .cache/vet; so are those of a folder that a test has made.
// Where headers cannot be fetched or nothing can be built, that is said.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withArchive } from '../../scripts/debian/archive.ts';
import type { BootedVersion } from '../../scripts/debian/booted.ts';
import { BOOTED } from '../../scripts/debian/booted.ts';
import { KbuildRoot } from '../../scripts/debian/kbuild_root.ts';
import { KERNELS } from '../../scripts/debian/kernels.ts';
import { UnavailableError } from '../../scripts/errors.ts';
import { oneAtATime } from '../../scripts/setup/one_at_a_time.ts';

const ROOT = join(import.meta.dirname, '../..');

export type Built = { readonly folder: string } | { readonly why: string };

/** The folder of the .ko files. @throws ScriptError for a build that fails */
export const observedModules = (series: BootedVersion): Built => builtModules(series, 'observed');

/** @param name folder of the sources below fixtures. @throws ScriptError for a build that fails */
export const builtModules = (series: BootedVersion, name: 'observed' | 'vet'): Built =>
  builtFrom(series, join(ROOT, 'fixtures', name), name);

/** @param source folder of the sources and their Kbuild. @param name folder below .cache. @throws ScriptError for a build that fails */
export function builtFrom(series: BootedVersion, source: string, name: string): Built {
  const folder = join(ROOT, '.cache', name, `${BOOTED[series].release}-${digestOf(source)}`);
  try {
    if (!existsSync(folder))
      oneAtATime(`${folder}.lock`, () => {
        if (!existsSync(folder)) build(series, source, folder);
      });
    return { folder };
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    return { why: `modules for Debian's ${series} cannot be built here: ${error.message}` };
  }
}

/** Whole or not at all. */
function build(series: BootedVersion, source: string, folder: string): void {
  const work = `${folder}.part`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    withArchive(KERNELS[series], (archive) => {
      const root = KbuildRoot.unpack(archive, BOOTED[series].release, join(work, 'root'));
      root.build(source, join(work, 'modules'));
    });
    renameSync(join(work, 'modules'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function digestOf(source: string): string {
  const digest = createHash('sha256');
  for (const name of readdirSync(source).sort()) digest.update(name).update(readFileSync(join(source, name)));
  return digest.digest('hex').slice(0, 12);
}
