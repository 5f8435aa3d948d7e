// Builds dist/: the bundle of the CLI and of the public API and, unless told otherwise, type declarations.
//
//   node scripts/run.mjs build [--no-types] [--force]
//
// The CLI's program is one script, of which V8's compiled code can be kept, for the process and its threads
// (src/cli/main.ts). Everything in dist/cli is CommonJS. Of the public API modules that are imported lazily stay files of
// their own. Native and WebAssembly packages stay outside.
// What is up to date is not built again.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { BuildOptions } from 'esbuild';
import { digestOfMakers } from '../src/machine/boot/image_makers.ts';
import { digestOfBootMakers, digestOfKernelMakers } from '../src/machine/native/makers.ts';
import { digestOfReaders } from '../src/vmlinuz/readers.ts';
import { ScriptError } from './errors.ts';
import { ROOT } from './root.ts';

const at = (path: string): string => join(ROOT, path);
/** Where everything is up to date, it is not asked for. */
const bundler = () => import('esbuild');

/** Packages with a native library or a WebAssembly file next to them, and the bundler itself. */
const EXTERNAL = [
  'esbuild',
  'koffi',
  '@alexaltea/keystone-js',
  '@alexaltea/capstone-js',
  'iced-x86',
  'bullmq',
  'ioredis',
];
const PROGRAM = 'src/cli/program.ts';
const LAUNCHER = 'src/cli/main.ts';
/** The process, and kinds of threads. */
const LAUNCHED = ['', 'check/worker', 'explore/worker', 'orc/worker', 'session/machine_worker'];
/** It only passes messages on, and has no need of the program. */
const RELAY = 'src/cli/session/machine_child.ts';
const API = 'src/index.ts';
const SETTINGS = ['package-lock.json', 'tsconfig.json', 'scripts/build.ts'];

/** CommonJS packages in the bundle ask for Node's modules by require, which is made when one does. */
const REQUIRE =
  "import{createRequire as $r}from'node:module';let $q;function require(name){return($q??=$r(import.meta.url))(name)}";

/** The memory is the guest's and comes from outside, of the size that the guest needs; up to 4 GiB. */
const CORE_FLAGS = [
  ...['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd,bulk-memory'],
  ...['--importMemory', '--initialMemory', '128', '--maximumMemory', '65536'],
];

const COMMON = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
} as const satisfies BuildOptions;

/** What is cached, images and symbols of kernels, is of the code in dist. */
const digests = () => ({
  IMAGE_MAKERS: JSON.stringify({ x86_64: digestOfMakers(ROOT, 'x86_64') }),
  KERNEL_MAKERS: JSON.stringify({ x86_64: digestOfKernelMakers(ROOT, 'x86_64') }),
  BOOT_MAKERS: JSON.stringify(digestOfBootMakers(ROOT)),
  KERNEL_READERS: JSON.stringify({ x86_64: digestOfReaders(ROOT, 'x86_64') }),
});

const IN_DIST = {
  ...COMMON,
  outdir: at('dist'),
  outbase: at('src'),
  minifyWhitespace: true,
  minifySyntax: true,
  external: EXTERNAL,
} as const satisfies BuildOptions;

export async function main(flags: readonly string[]): Promise<void> {
  try {
    await build({ types: !flags.includes('--no-types'), force: flags.includes('--force') });
  } catch (error) {
    throw new ScriptError(`build failed: ${error instanceof Error ? error.message : error}`);
  }
}

export async function build({ types = false, force = false } = {}): Promise<void> {
  const stamp = inputStamp();
  if (force) rmSync(at('dist'), { recursive: true, force: true });
  await buildCore();
  await unlessUpToDate('bundle', stamp, bundle);
  if (types) await unlessUpToDate('types', stamp, emitDeclarations);
}

/**
 * Bundles one program that is not part of dist, such as a benchmark; returns its path. Its name is of what is in it:
 * a program that starts more processes of itself starts the same, whatever is bundled meanwhile.
 * @param root of the checkout that it is of
 */
export async function buildProgram(path: string, root = ROOT): Promise<string> {
  const { outputFiles } = await (await bundler()).build({
    ...COMMON,
    entryPoints: [join(root, path)],
    // a browser's driver finds its own files beside itself
    external: [...EXTERNAL, 'playwright-core'],
    banner: { js: REQUIRE },
    write: false,
  });
  const { contents } = outputFiles[0];
  const name = basename(path, '.ts');
  const digest = createHash('sha256').update(contents).digest('hex').slice(0, 12);
  const folder = join(root, '.cache', dirname(path));
  const file = join(folder, `${name}-${digest}.mjs`);
  mkdirSync(folder, { recursive: true });
  removeOldPrograms(folder, name);
  if (existsSync(file)) return file;
  writeFileSync(`${file}.${process.pid}`, contents);
  renameSync(`${file}.${process.pid}`, file);
  return file;
}

/** Nothing that was bundled so long ago runs any more. */
const OLD_PROGRAM_MS = 24 * 3600 * 1000;

function removeOldPrograms(folder: string, name: string): void {
  const before = Date.now() - OLD_PROGRAM_MS;
  for (const other of readdirSync(folder)) {
    const file = join(folder, other);
    const changed = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (other.startsWith(`${name}-`) && changed < before) rmSync(file, { force: true });
  }
}

async function bundle(): Promise<void> {
  rmSync(at('dist/chunks'), { recursive: true, force: true });
  mkdirSync(at('dist/cli'), { recursive: true });
  writeFileSync(at('dist/cli/package.json'), '{ "type": "commonjs" }\n');
  await Promise.all([bundleProgram(), bundleRelay(), bundleApi(), bundlePage()]);
}

/** The program as the launcher wraps it, then the launchers, which know its name. */
async function bundleProgram(): Promise<void> {
  const { metafile } = await (await bundler()).build({
    ...IN_DIST,
    entryPoints: [at(PROGRAM)],
    entryNames: '[dir]/[name]-[hash]',
    outExtension: { '.js': '.cjs' },
    metafile: true,
    format: 'cjs',
    charset: 'ascii',
    supported: { 'dynamic-import': false },
    define: { ...digests(), 'import.meta.url': 'PROGRAM_URL' },
    banner: { js: '(function(module,require,PROGRAM_URL){' },
    footer: { js: '})' },
  });
  const name = basename(Object.keys(metafile.outputs)[0] as string);
  await Promise.all(LAUNCHED.map((thread) => bundleLauncher(thread, JSON.stringify(name))));
  for (const other of readdirSync(at('dist/cli'))) {
    if (/^program-.*\.cjs$/.test(other) && other !== name) rmSync(at(join('dist/cli', other)));
  }
}

async function bundleLauncher(thread: string, program: string): Promise<void> {
  await (await bundler()).build({
    ...IN_DIST,
    entryPoints: [{ in: at(LAUNCHER), out: join('cli', thread || 'main') }],
    format: 'cjs',
    define: { PROGRAM: program, THREAD: JSON.stringify(thread) },
  });
}

async function bundleRelay(): Promise<void> {
  await (await bundler()).build({
    ...IN_DIST,
    entryPoints: [at(RELAY)],
    format: 'cjs',
    define: { 'import.meta.url': 'FILE_URL' },
    banner: { js: "const FILE_URL=require('node:url').pathToFileURL(__filename).href;" },
  });
}

async function bundleApi(): Promise<void> {
  await (await bundler()).build({
    ...IN_DIST,
    entryPoints: [at(API)],
    chunkNames: 'chunks/[name]-[hash]',
    define: digests(),
    splitting: true,
    banner: { js: REQUIRE },
  });
}

/** What the pages of runs and of live machines are made with, for browsers. */
async function bundlePage(): Promise<void> {
  await (await bundler()).build({
    bundle: true,
    minify: true,
    logLevel: 'warning',
    entryPoints: [
      { in: at('src/timeline/page/main.ts'), out: 'page' },
      { in: at('src/timeline/page/page.css'), out: 'page' },
      { in: at('src/timeline/page/live.ts'), out: 'live' },
      { in: at('src/timeline/page/live.css'), out: 'live' },
    ],
    outdir: at('dist/timeline'),
    format: 'iife',
    target: ['chrome109', 'firefox102', 'safari16'],
    charset: 'utf8',
  });
}

function emitDeclarations(): void {
  const tsc = at('node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', at('tsconfig.build.json')], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new ScriptError('declarations were not written: see the type errors above');
}

async function unlessUpToDate(
  part: string,
  stamp: string,
  action: () => void | Promise<void>,
): Promise<void> {
  const file = at(`dist/.${part}-stamp`);
  if (existsSync(file) && readFileSync(file, 'utf8') === stamp) return;
  await action();
  mkdirSync(at('dist'), { recursive: true });
  writeFileSync(file, stamp);
}

/** The processor's core: AssemblyScript to WebAssembly, in data/, where the package has it. */
export async function buildCore(): Promise<void> {
  const folder = 'src/arch/x86_64/core';
  const hash = createHash('sha256').update(CORE_FLAGS.join(' '));
  for (const name of readdirSync(at(folder)).sort())
    hash.update(name).update(readFileSync(at(join(folder, name))));
  const stamp = hash.digest('hex');
  if (existsSync(at('data/core.wasm')) && readFileIfThere(at('.cache/core-stamp')) === stamp) return;
  console.error('the core is built: data/core.wasm is not of these sources');
  const { main: asc } = await import('assemblyscript/asc');
  const outFile = `data/core.wasm.${process.pid}`;
  const args = ['src/arch/x86_64/core/index.ts', '--outFile', outFile, ...CORE_FLAGS];
  const { error, stderr } = await asc(args, { baseDir: ROOT } as never);
  if (error) throw new ScriptError(`the core was not built: ${error.message}\n${stderr.toString()}`);
  // Whole or not at all: others may be reading it.
  renameSync(at(outFile), at('data/core.wasm'));
  mkdirSync(at('.cache'), { recursive: true });
  writeFileSync(at('.cache/core-stamp'), stamp);
}

const readFileIfThere = (path: string): string | undefined =>
  existsSync(path) ? readFileSync(path, 'utf8') : undefined;

/** Names, sizes and times of everything the build reads. */
function inputStamp(): string {
  const sources = readdirSync(at('src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const hash = createHash('sha256');
  for (const path of [...sources, ...SETTINGS.map(at)].sort()) {
    const { size, mtimeMs } = statSync(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}
