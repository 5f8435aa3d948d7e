// Where klpemu itself lies on the host: its package.json, asm/, data/ and fixtures/ are found from there.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What klpemu reads at run time is not where it was installed. */
export class InstallationError extends Error {
  override readonly name = 'InstallationError';
  readonly code = 'EINSTALL';
}

/**
 * The folder of klpemu's package.json, from source and from the bundle alike.
 * @throws InstallationError when there is none
 */
export function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let dir = start; ; dir = dirname(dir)) {
    const manifest = join(dir, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'klpemu') return dir;
    if (dir === dirname(dir)) throw new InstallationError(`no package.json of klpemu above ${start}`);
  }
}
