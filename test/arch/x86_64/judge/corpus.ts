// How often each form is in the modules of Debian's kernel 6.1.0-56: corpus_forms.txt, which
// `node scripts/run.mjs judge --frequency DIR` prints of the modules below a folder (npm run corpus fetches them).

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../../src/guest/package_root.ts';

const FILE = 'test/arch/x86_64/judge/corpus_forms.txt';

const lines = readFileSync(join(packageRoot(), FILE), 'utf8').trimEnd().split('\n');

/** By the key of the form. */
export const CORPUS: ReadonlyMap<string, number> = new Map(
  lines.map((line): [string, number] => {
    const at = line.indexOf(' ');
    return [line.slice(at + 1), Number(line.slice(0, at))];
  }),
);

export const CORPUS_INSTRUCTIONS: number = [...CORPUS.values()].reduce((sum, count) => sum + count, 0);
