// What `npm pack` and `npm publish` run before and after: a build from nothing, and a package.json without the scripts
// of a checkout, which cannot run in an installed package.
//
//   node scripts/pack.mjs before|after

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const MANIFEST = join(root, 'package.json');
/** The whole one, while the other is in its place. */
const KEPT = join(root, '.cache/package.json');

async function before() {
  await build({ types: true, force: true });
  const text = readFileSync(MANIFEST, 'utf8');
  const { scripts, devDependencies, ...shipped } = JSON.parse(text);
  if (!scripts) throw new Error('package.json has no scripts: git checkout package.json, and pack again');
  mkdirSync(join(root, '.cache'), { recursive: true });
  writeFileSync(KEPT, text);
  writeFileSync(MANIFEST, `${JSON.stringify(shipped, null, 2)}\n`);
}

function after() {
  if (existsSync(KEPT)) renameSync(KEPT, MANIFEST);
}

const [when] = process.argv.slice(2);
try {
  if (when === 'before') await before();
  else after();
} catch (error) {
  console.error(`klpemu: ${error.message}`);
  process.exitCode = 1;
}
