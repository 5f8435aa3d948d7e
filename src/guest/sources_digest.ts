// Sources of klpemu as one digest: what is kept on disk is of the code that made it.
//
// The build puts such digests into what it bundles, which so knows its own code, whatever has become of the sources beside
// it; code that is run from its sources reads them.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** @param parts files, and folders with all below them; those that are not there count as empty */
export function digestOfSources(root: string, parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    for (const path of filesOf(join(root, part)))
      hash
        .update(`${relative(root, path)}\0`)
        .update(readFileSync(path))
        .update('\0');
  }
  return hash.digest('hex');
}

/** The files of a folder, or the file; none where there are no sources. */
function filesOf(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return [];
  if (!stat.isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesOf(join(path, name)));
}
