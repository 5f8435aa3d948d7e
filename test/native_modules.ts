// The program's modules as Node's own ECMAScript modules: what tests execute is what Node makes of them.
//
// Vite would pass each use of an import through a property of its module's namespace, which V8 neither keeps as compiled code
// nor inlines as it does with the bindings that the program has in dist. So each module of src/ is stripped of its types into
// .cache/native, one file each, whole or not at all, and left to Node; test files stay with Vite.
//
// Invariant: a module is there once in a process, whoever imports it.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Plugin as BuildPlugin, build } from 'esbuild';
import type { Plugin } from 'vitest/config';

const ROOT = join(import.meta.dirname, '..');
const SRC = join(ROOT, 'src');
/** In AssemblyScript: only what others import of it, which are tables of numbers. */
const CORE = join(SRC, 'arch/x86_64/core');
const NATIVE = join(ROOT, '.cache/native');
/** What stays as it is: imported by Node. */
export const NATIVE_FILES = /\/\.cache\/native\//;

/** Where the module of a file of src/ is. */
const nativeOf = (path: string): string => join(NATIVE, `${relative(SRC, path).slice(0, -'.ts'.length)}.js`);
const isSource = (path: string): boolean => path.startsWith(`${SRC}/`) && path.endsWith('.ts');

/** For Vite: imports of src/ are those of the native modules. */
export function nativeModules(): Plugin {
  return {
    name: 'native-modules',
    enforce: 'pre',
    // Before anything is imported, once for all of Vite's environments.
    configResolved: writeNativeModules,
    resolveId(source, importer) {
      if (!importer || !source.startsWith('.')) return null;
      const path = join(dirname(importer), source);
      return isSource(path) && existsSync(path) ? nativeOf(path) : null;
    },
  };
}

async function writeNativeModules(): Promise<void> {
  const all = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).map((name) => join(SRC, name));
  let wanted = all.filter((path) => isSource(path) && !path.startsWith(CORE));
  const written = new Set<string>();
  while (wanted.length > 0) {
    const imported = new Set<string>();
    await writeModules(wanted, imported);
    for (const path of wanted) written.add(path);
    wanted = [...imported].filter((path) => !written.has(path));
  }
}

async function writeModules(paths: readonly string[], imported: Set<string>): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [...paths],
    bundle: true,
    write: false,
    outdir: NATIVE,
    outbase: SRC,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    plugins: [separately(imported)],
  });
  for (const { path, text } of outputFiles) {
    // Where it lies is asked for what lies around it.
    const source = join(SRC, `${relative(NATIVE, path).slice(0, -'.js'.length)}.ts`);
    writeIfOther(path, text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(source).href)));
  }
}

/** Each module stays one, with the others beside it. */
const separately = (imported: Set<string>): BuildPlugin => ({
  name: 'separately',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ path, kind, resolveDir }) => {
      const imports = join(resolveDir, path);
      // One that is not there is an error, though it may have been there once.
      if (kind === 'entry-point' || !existsSync(imports)) return undefined;
      imported.add(imports);
      return { path: path.replace(/\.ts$/, '.js'), external: true };
    });
  },
});

/** Others may be reading it. */
function writeIfOther(path: string, text: string): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.${process.pid}`, text);
  renameSync(`${path}.${process.pid}`, path);
}
