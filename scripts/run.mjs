// @ts-check
// Runs a script of this folder: bundles it from TypeScript, and calls its main() with the arguments.
//
//   node scripts/run.mjs NAME [ARGUMENT...]        scripts/NAME.ts
//
// This and setup/npm_packages.mjs are the only scripts in JavaScript: on a fresh checkout nothing is there that reads
// TypeScript (Node 20 does not), so they use nothing but Node itself, and install the packages when they are missing.
// An error that main() throws is printed here, in one line; its `exitStatus`, or 1, is the exit code.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensurePackages } from './setup/npm_packages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @param {string[]} argv */
async function main([name, ...args]) {
  const source = join(root, 'scripts', `${name}.ts`);
  if (name === undefined || !existsSync(source)) {
    throw Object.assign(
      new Error('usage: node scripts/run.mjs NAME [ARGUMENT...], NAME.ts being in scripts/'),
      {
        exitStatus: 2,
      },
    );
  }
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20) throw new Error(`Node 20 or later is needed, this is ${process.version}`);
  ensurePackages(root);
  const bundle = await bundled(source, join(root, '.cache/scripts', `${name}.mjs`));
  const script = await import(pathToFileURL(bundle).href);
  await script.main(args);
}

/**
 * Whole or not at all: others may start the same script at this moment.
 * @param {string} source
 * @param {string} file
 */
async function bundled(source, file) {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [source],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    write: false,
  });
  const { text } = outputFiles[0];
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return file;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
  return file;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`klpemu: ${error.message}`);
  process.exitCode = error.exitStatus ?? 1;
});
