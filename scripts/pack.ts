// What `npm pack` and `npm publish` run before and after: a build from nothing, and a package.json without the scripts
// of a checkout, which cannot run in an installed package. And the manual pages, which npm puts where `man` finds them.
//
//   node scripts/run.mjs pack before|after

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.ts';
import { ScriptError, ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';

const MANIFEST = join(ROOT, 'package.json');
const PAGES = 'dist/man';
/** The whole one, while the other is in its place. */
const KEPT = join(ROOT, '.cache/package.json');

async function before(): Promise<void> {
  await build({ types: true, force: true });
  const text = readFileSync(MANIFEST, 'utf8');
  const { scripts, devDependencies, ...shipped } = JSON.parse(text);
  if (!scripts)
    throw new ScriptError('package.json has no scripts: git checkout package.json, and pack again');
  const pages = join(ROOT, PAGES);
  execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), 'man', '--all', pages], {
    stdio: 'inherit',
  });
  shipped.man = readdirSync(pages).map((page) => `./${PAGES}/${page}`);
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  writeFileSync(KEPT, text);
  writeFileSync(MANIFEST, `${JSON.stringify(shipped, null, 2)}\n`);
}

function after(): void {
  if (existsSync(KEPT)) renameSync(KEPT, MANIFEST);
}

export async function main([when]: readonly string[]): Promise<void> {
  if (when === 'before') await before();
  else if (when === 'after') after();
  else throw new ScriptUsageError('usage: node scripts/run.mjs pack before|after');
}
