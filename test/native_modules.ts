// The program's modules, its scripts' and what tests have in common, as Node's own ECMAScript modules: what tests execute is what Node
// makes of them.
//
// Vite would pass each use of an import through a property of its module's namespace, which V8 neither keeps as compiled code
// nor inlines as it does with the bindings that the program has in dist. So each module is stripped of its types into
// .cache/native, one file each, whole or not at all, and left to Node; test files stay with Vite.
//
// Invariant: a module is there once in a process, whoever imports it.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Plugin as BuildPlugin, build } from 'esbuild';
import type { Plugin } from 'vitest/config';

const ROOT = join(import.meta.dirname, '..');
const FOLDERS = ['src', 'test', 'scripts', 'bench'].map((name) => join(ROOT, name));
/** In AssemblyScript: only what others import of it, which are tables of numbers. */
const CORE = join(ROOT, 'src/arch/x86_64/core');
const NATIVE = join(ROOT, '.cache/native');
/** What stays as it is: imported by Node. */
export const NATIVE_FILES = /\/\.cache\/native\//;

/** Where the module of a file is. */
const nativeOf = (path: string): string => join(NATIVE, `${relative(ROOT, path).slice(0, -'.ts'.length)}.js`);
const isNative = (path: string): boolean =>
  path.endsWith('.ts') &&
  !path.endsWith('.test.ts') &&
  !path.endsWith('.d.ts') &&
  FOLDERS.some((folder) => path.startsWith(`${folder}/`));

/** For Vite: what is imported of them is the native module. */
export function nativeModules(): Plugin {
  return {
    name: 'native-modules',
    enforce: 'pre',
    // Before anything is imported, once for all of Vite's environments.
    configResolved: writeNativeModules,
    resolveId(source, importer) {
      if (!importer || !source.startsWith('.')) return null;
      const path = join(dirname(importer), source);
      return isNative(path) && existsSync(path) ? nativeOf(path) : null;
    },
  };
}

async function writeNativeModules(): Promise<void> {
  const all = FOLDERS.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  );
  let wanted = all.filter((path) => isNative(path) && !path.startsWith(CORE));
  const written = new Set<string>();
  while (wanted.length > 0) {
    const imported = new Set<string>();
    await writeModules(wanted, imported);
    for (const path of wanted) written.add(path);
    wanted = [...imported].filter((path) => isNative(path) && !written.has(path));
  }
}

/** What a module may ask of where it is: where it is written, and not where it was put. */
const PLACES: Readonly<Record<string, (source: string) => string>> = {
  url: (source) => pathToFileURL(source).href,
  dirname,
  filename: (source) => source,
};

/** On the first line, so that lines stay near to those of the source. */
const ownPlaces = (source: string): string =>
  Object.entries(PLACES)
    .map(([name, of]) => `const OWN_${name} = ${JSON.stringify(of(source))}; `)
    .join('');

async function writeModules(paths: readonly string[], imported: Set<string>): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [...paths],
    bundle: true,
    write: false,
    outdir: NATIVE,
    outbase: ROOT,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    define: Object.fromEntries(Object.keys(PLACES).map((name) => [`import.meta.${name}`, `OWN_${name}`])),
    plugins: [separately(imported)],
  });
  for (const { path, text } of outputFiles) {
    // Where it lies is asked for what lies around it.
    const source = join(ROOT, `${relative(NATIVE, path).slice(0, -'.js'.length)}.ts`);
    writeIfOther(path, /\bOWN_\w+/.test(text) ? `${ownPlaces(source)}${text}` : text);
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
      return { path: isNative(imports) ? path.replace(/\.ts$/, '.js') : imports, external: true };
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
