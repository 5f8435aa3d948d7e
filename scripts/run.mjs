// @ts-check
// Runs a script of this folder: bundles it from TypeScript, and calls its main() with the arguments.
//
//   node scripts/run.mjs NAME [ARGUMENT...]        scripts/NAME.ts
//
// This and setup/npm_packages.mjs are the only scripts in JavaScript: on a fresh checkout nothing is there that reads
// TypeScript (Node 20 does not), so they use nothing but Node itself, and install the packages when they are missing.
// A bundle is used again while none of its files has changed.
// An error that main() throws is printed here, in one line; its `exitStatus`, or 1, is the exit code.

import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
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
  if (isUpToDate(file)) return file;
  const began = Date.now();
  const { build } = await import('esbuild');
  const { outputFiles, metafile } = await build({
    entryPoints: [source],
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    write: false,
    metafile: true,
  });
  const states = [...SETTINGS, ...Object.keys(metafile.inputs)].map((path) => [path, stateOf(path)]);
  // One that changed meanwhile may not be what was read.
  const isKept = states.every(([, state]) => Number(state.split(' ')[0]) < began);
  const text = `${outputFiles[0].text}${isKept ? MADE_OF + JSON.stringify(states) : ''}\n`;
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return file;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
  return file;
}

/** What a bundle depends on that is not in it. */
const SETTINGS = ['package-lock.json', 'tsconfig.json', 'scripts/run.mjs'];
/** A bundle's last line: of which files it was made, and how they were then. */
const MADE_OF = '// made of ';

/**
 * Whether its files are as they were: to ask takes some milliseconds, and esbuild a tenth of a second.
 * @param {string} file
 */
function isUpToDate(file) {
  if (!existsSync(file)) return false;
  const text = readFileSync(file, 'utf8');
  const at = text.lastIndexOf(`\n${MADE_OF}`);
  if (at < 0) return false;
  return statesIn(text.slice(at + 1 + MADE_OF.length)).every(([path, state]) => stateOf(path) === state);
}

/**
 * @param {string} line
 * @returns {[string, string][]} one that is not so, where the line was cut
 */
function statesIn(line) {
  try {
    return JSON.parse(line);
  } catch {
    return [['', '']];
  }
}

/**
 * When it was changed last, and its size.
 * @param {string} path
 */
function stateOf(path) {
  const found = statSync(join(root, path), { throwIfNoEntry: false });
  return found ? `${found.mtimeMs} ${found.size}` : 'none';
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`klpemu: ${error.message}`);
  process.exitCode = error.exitStatus ?? 1;
});
