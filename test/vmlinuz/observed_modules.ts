// The modules of fixtures/observed, with which Debian's kernels were observed, as kbuild makes them with the headers and the
// compiler of each; built once, in .cache/observed. Where headers cannot be fetched or nothing can be built, that is said.

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

const SOURCE = join(import.meta.dirname, '../../fixtures/observed');
const CACHE = join(import.meta.dirname, '../../.cache/observed');

/** The folder of the .ko files. @throws ScriptError for a build that fails */
export function observedModules(
  series: BootedVersion,
): { readonly folder: string } | { readonly why: string } {
  const folder = join(CACHE, `${BOOTED[series].release}-${digestOfSources()}`);
  try {
    if (!existsSync(folder))
      oneAtATime(`${folder}.lock`, () => {
        if (!existsSync(folder)) build(series, folder);
      });
    return { folder };
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    return { why: `modules for Debian's ${series} cannot be built here: ${error.message}` };
  }
}

/** Whole or not at all. */
function build(series: BootedVersion, folder: string): void {
  const work = `${folder}.part`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    withArchive(KERNELS[series], (archive) => {
      const root = KbuildRoot.unpack(archive, BOOTED[series].release, join(work, 'root'));
      root.build(SOURCE, join(work, 'modules'));
    });
    renameSync(join(work, 'modules'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function digestOfSources(): string {
  const digest = createHash('sha256');
  for (const name of readdirSync(SOURCE).sort()) digest.update(name).update(readFileSync(join(SOURCE, name)));
  return digest.digest('hex').slice(0, 12);
}
