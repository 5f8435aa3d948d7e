// The API as it is documented: docs/api.md names what src/index.ts exports, and the snippets compile as printed.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const pages = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-api-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Every name that index.ts exports, types among them. */
function exported(): string[] {
  const lists = [...read('src/index.ts').matchAll(/export (?:type )?\{([^}]*)\}/g)];
  return lists.flatMap(([, names]) => names.split(',').map((name) => name.trim())).filter(Boolean);
}

/** Indented blocks of a page that import from the package, without their indentation. */
function snippets(page: string): string[] {
  const blocks = read(page).match(/(?:^ {4}.*\n|^\n(?= {4}))+/gm) ?? [];
  return blocks
    .filter((block) => block.includes("from 'klpemu'"))
    .map((block) => block.replace(/^ {4}/gm, ''));
}

describe('docs/api.md', () => {
  it('names everything that is exported, and nothing in the first column that is not', () => {
    const named = read('docs/api.md')
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .flatMap((line) => [...line.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(exported().length).toBeGreaterThan(50);
    expect([...named].sort()).toEqual([...new Set(exported())].sort());
  });
});

describe('code in README.md and docs', () => {
  it('compiles as it is printed', () => {
    const found = pages.flatMap((page) => snippets(page).map((text) => ({ page, text })));
    expect(found.map(({ page }) => page)).toEqual(expect.arrayContaining(['README.md', 'docs/api.md']));
    const files = found.map(({ page, text }, i) => {
      const file = `${i}-${page.replaceAll('/', '-')}.mts`;
      writeFileSync(join(dir, file), text);
      return file;
    });
    const config = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: {
        rootDir: '/',
        types: ['node'],
        typeRoots: [join(ROOT, 'node_modules/@types')],
        paths: { klpemu: [join(ROOT, 'src/index.ts')] },
      },
      include: [join(ROOT, 'src/**/*.d.ts')],
      files,
    };
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', dir], { encoding: 'utf8' });
    expect(stdout).toBe('');
    expect(status).toBe(0);
  });

  it('never has npx look for the package in the registry', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
    const texts = [...pages, ...sources.filter((path) => path.endsWith('.ts')).map((path) => `src/${path}`)];
    const asking = texts.filter((path) => /\bnpx (?!--no\b)|npm exec (?!--no\b)/.test(read(path)));
    expect(asking).toEqual([]);
  });
});
