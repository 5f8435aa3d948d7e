// Modules of src/ do not import each other in circles, types included: each can be read, and loaded, after what it imports.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '../../src');

/** Modules by what they import. */
type Graph = ReadonlyMap<string, readonly string[]>;

/** Where a static import or re-export is from; where a lazy one is. */
const IMPORT =
  /^(?:import|export)\s+(?:(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\w+|\{[^}]*\})\s+from\s+)?'(\.[^']+)'|\bimport\('(\.[^']+)'\)/gm;

/** What a module imports of other modules of src/. */
function importsOf(file: string, text: string): string[] {
  return [...text.matchAll(IMPORT)].map(([, from, lazy]) => join(dirname(file), from ?? lazy));
}

/** The first circle that there is from a module on, as a path that ends where it begins. */
function circleFrom(
  graph: Graph,
  file: string,
  way: readonly string[],
  done: Set<string>,
): string[] | undefined {
  const at = way.indexOf(file);
  if (at >= 0) return [...way.slice(at), file];
  if (done.has(file)) return undefined;
  for (const next of graph.get(file) ?? []) {
    const circle = circleFrom(graph, next, [...way, file], done);
    if (circle) return circle;
  }
  done.add(file);
  return undefined;
}

/** One circle for each module that closes one. */
function circlesIn(graph: Graph): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  for (const file of graph.keys()) {
    const circle = circleFrom(graph, file, [], done);
    if (!circle) continue;
    found.push(circle.join(' -> '));
    for (const one of circle) done.add(one);
  }
  return found;
}

/** The core is of another language, which does not mind circles, but for what the engine reads as well. */
const isOfCore = (file: string): boolean => /^arch\/x86_64\/core\/(?!layout|kinds|vector_kinds)/.test(file);

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && !isOfCore(file),
);
const graph: Graph = new Map(
  files.map((file) => [file, importsOf(file, readFileSync(join(SRC, file), 'utf8'))]),
);

describe('the modules of src/', () => {
  it('import each other in no circle', () => {
    expect(circlesIn(graph)).toEqual([]);
  });

  it('are all looked at, by imports that lead to modules', () => {
    const to = [...graph.values()].flat();
    expect(to.length).toBeGreaterThan(files.length);
    expect(to.filter((file) => !graph.has(file))).toEqual([]);
  });
});

describe('a circle', () => {
  const circles = (texts: Record<string, string>): string[] =>
    circlesIn(new Map(Object.entries(texts).map(([file, text]) => [file, importsOf(file, text)])));

  it('is found through static and lazy imports and re-exports', () => {
    const b = "import {\n  c,\n  type D,\n} from './c.ts';";
    for (const back of ["export * from '../a.ts';", "await import('../a.ts');", "import '../a.ts';"])
      expect(circles({ 'a.ts': "import { b } from './x/b.ts';", 'x/b.ts': b, 'x/c.ts': back })).toEqual([
        'a.ts -> x/b.ts -> x/c.ts -> a.ts',
      ]);
  });

  it('is one, too, where an import is of types alone', () => {
    const a = "import { b } from './b.ts';";
    for (const back of ["import type { A } from './a.ts';", "import { type A, type B } from './a.ts';"])
      expect(circles({ 'a.ts': a, 'b.ts': back })).toEqual(['a.ts -> b.ts -> a.ts']);
  });
});
