// scripts/run.mjs: a script is bundled when one of its files has changed, and only then.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
let checkout: string;

beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), 'klpemu-script-'));
  mkdirSync(join(checkout, 'scripts'));
  for (const file of [
    'scripts/run.mjs',
    'scripts/setup/npm_packages.mjs',
    'package-lock.json',
    'tsconfig.json',
  ])
    cpSync(join(ROOT, file), join(checkout, file));
  symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
  write(
    'scripts/says.ts',
    "import { word } from './word.ts';\nexport const main = () => console.log(word);\n",
  );
  write('scripts/word.ts', "export const word: string = 'one';\n");
});
afterEach(() => rmSync(checkout, { recursive: true, force: true }));

const bundle = '.cache/scripts/says.mjs';
const read = (file: string): string => readFileSync(join(checkout, file), 'utf8');
function write(file: string, text: string): void {
  rmSync(join(checkout, file), { force: true });
  writeFileSync(join(checkout, file), text);
}
function says(): string {
  const { stdout, stderr } = spawnSync(process.execPath, ['scripts/run.mjs', 'says'], {
    cwd: checkout,
    encoding: 'utf8',
  });
  return `${stdout}${stderr}`;
}

it('a script is bundled anew where a file that it imports has changed, and not where none has', () => {
  expect(says()).toBe('one\n');
  // What is executed is the bundle as it is, when nothing it was made of is newer.
  write(bundle, read(bundle).replace('"one"', '"kept"'));
  expect(says()).toBe('kept\n');
  write('scripts/word.ts', "export const word: string = 'another';\n");
  expect(says()).toBe('another\n');
  write(bundle, read(bundle).replace('"another"', '"kept"'));
  expect(says()).toBe('kept\n');
  write('tsconfig.json', `${read('tsconfig.json')}\n`);
  expect(says()).toBe('another\n');
});

it('a bundle that does not say what it was made of, or was cut, is made anew', () => {
  expect(says()).toBe('one\n');
  const whole = read(bundle);
  const [code] = whole.split('// made of ');
  for (const text of [code, whole.slice(0, -10), '']) {
    write(bundle, text.replace('"one"', '"wrong"'));
    expect(says()).toBe('one\n');
  }
});
