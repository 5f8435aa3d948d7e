// Which build of the processor was judged: a digest of the sources that decide what an instruction does.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../../src/guest/package_root.ts';

const FOLDERS = [
  'src/arch/x86_64/core',
  'src/arch/x86_64/engine',
  'src/arch/x86_64/engine/translate',
  'src/isa',
];

let known: string | undefined;

/** The first digits of it. */
export function coreDigest(): string {
  known ??= digestOfSources();
  return known;
}

function digestOfSources(): string {
  const hash = createHash('sha256');
  for (const folder of FOLDERS) {
    const at = join(packageRoot(), folder);
    for (const entry of readdirSync(at, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.isFile()) hash.update(entry.name).update(readFileSync(join(at, entry.name)));
    }
  }
  return hash.digest('hex').slice(0, 12);
}
