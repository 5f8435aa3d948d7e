// CONTRIBUTING.md names every variable that the program, its scripts and its tests read.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

function sources(): string[] {
  const below = ['src', 'scripts', 'test', 'bench'].flatMap((dir) =>
    readdirSync(join(root, dir), { recursive: true, encoding: 'utf8' }).map((name) => join(dir, name)),
  );
  return [...below, '.ci/run', 'vitest.config.ts'].filter((path) => /\.(ts|mjs|sh)$|^\.ci/.test(path));
}

describe('CONTRIBUTING.md', () => {
  it('has a row for every environment variable, and none for others', () => {
    const used = sources().flatMap((path) => read(path).match(/\bKLPEMU_[A-Z]+(_[A-Z]+)*\b/g) ?? []);
    const rows = [...read('CONTRIBUTING.md').matchAll(/^\| `(KLPEMU_\w+)` \|/gm)].map(([, name]) => name);
    expect(rows.sort()).toEqual([...new Set(used)].sort());
  });

  it('names npm scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...read('CONTRIBUTING.md').matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    expect(named.length).toBeGreaterThan(5);
  });
});
