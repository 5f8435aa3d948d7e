// Nothing is exported that nobody imports: what only its own file uses is its own. What only tests, benchmarks or
// scripts import may be exported: a test reaches a part of a file by that.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

const paths = ['src', 'test', 'bench', 'scripts'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.d)\.ts$/.test(name))
    .map((name) => join(folder, name)),
);
const sources = new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]));

/** What the core's WebAssembly exports: the engine imports it by another way. */
const CORE = 'src/arch/x86_64/core/index.ts';

const EXPORT =
  /^(?:@inline )?export (?:declare )?(?:async )?(?:abstract )?(?:const enum|const|let|function\*?|class|interface|type|enum) (\w+)/gm;
/** `import a, { type b, c as d } from './e.ts'`, `export { f } from './g.ts'`, and the same of `*`. */
const IMPORT = /\b(?:import|export)\s+(?:type\s+)?(?:\w+\s*,\s*)?(\{[^}]*\}|\*)[^'{};]*?from\s+'(\.[^']+)'/g;
/** `await import('./lazy.ts')`, also in the place of a type. */
const LAZY = /\bimport\(\s*'(\.[^']+)'\s*\)/g;

/** What is imported of each file: names, `*` for all of it, or in text that looks for itself what it takes. */
interface Taken {
  readonly names: Set<string>;
  readonly texts: string[];
}

const taken = new Map<string, Taken>(paths.map((path) => [path, { names: new Set(), texts: [] }]));

for (const [path, text] of sources) {
  // The core's language names files without their ending.
  const of = (from: string): Taken | undefined =>
    taken.get(join(dirname(path), from)) ?? taken.get(`${join(dirname(path), from)}.ts`);
  for (const [, names, from] of text.matchAll(IMPORT)) {
    for (const name of names.replace(/[{}]/g, '').split(',')) {
      of(from)?.names.add(
        name
          .trim()
          .replace(/^type /, '')
          .replace(/ as .*$/, ''),
      );
    }
  }
  for (const [, from] of text.matchAll(LAZY)) of(from)?.texts.push(text);
}

const isTaken = (path: string, name: string): boolean => {
  const { names, texts } = taken.get(path) as Taken;
  return names.has(name) || names.has('*') || texts.some((text) => new RegExp(`\\b${name}\\b`).test(text));
};

const exported = [...sources]
  .filter(([path]) => path.startsWith('src/') && path !== 'src/index.ts' && path !== CORE)
  .flatMap(([path, text]) => [...text.matchAll(EXPORT)].map(([, name]) => ({ path, name })));

describe('exports of src/', () => {
  it('are found, and so is who imports them', () => {
    expect(exported.length).toBeGreaterThan(500);
    expect(exported).toContainEqual({ path: 'src/kernel/errno.ts', name: 'KernelError' });
    expect(isTaken('src/kernel/errno.ts', 'KernelError')).toBe(true);
    expect(isTaken('src/kernel/errno.ts', 'KernelErro')).toBe(false);
  });

  it('are all imported by some other file', () => {
    const unused = exported.filter(({ path, name }) => !isTaken(path, name));
    expect(unused.map(({ path, name }) => `${path}: ${name}`)).toEqual([]);
  });

  it('are of files that are imported, or are programs of their own', () => {
    const build = readFileSync(join(root, 'scripts/build.ts'), 'utf8');
    const programs = (path: string): boolean =>
      build.includes(`'${path}'`) || [...sources.values()].some((text) => text.includes(`'${path}'`));
    const orphans = [...taken]
      .filter(([path, { names, texts }]) => path.startsWith('src/') && names.size === 0 && texts.length === 0)
      .map(([path]) => path)
      .filter((path) => !programs(path));
    expect(orphans).toEqual([]);
  });
});
