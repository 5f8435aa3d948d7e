// A copy of the checkout that may be changed: mutants are tested in it, never in the checkout itself.

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../root.ts';

/** What tests read; a folder is copied whole. */
const COPIED = [
  ...['asm', 'bench', 'data', 'docs', 'fixtures', 'scripts', 'src', 'test'],
  ...[
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'vitest.config.ts',
    'README.md',
    'CONTRIBUTING.md',
  ],
  // What is made of the sources as they are need not be made again.
  ...['.cache/core-stamp', '.cache/image'],
];

export class Tree {
  readonly root: string;

  /** @param name of its folder, which is made anew */
  constructor(name: string) {
    this.root = join(ROOT, '.cache/mutants', name);
    rmSync(this.root, { recursive: true, force: true });
    mkdirSync(this.root, { recursive: true });
    for (const path of COPIED) {
      const from = join(ROOT, path);
      if (!existsSync(from)) continue;
      mkdirSync(dirname(join(this.root, path)), { recursive: true });
      cpSync(from, join(this.root, path), { recursive: true, preserveTimestamps: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(this.root, 'node_modules'));
  }

  /** Does something while a file is another one. */
  async with<T>(file: string, text: string, body: () => Promise<T>): Promise<T> {
    const path = join(this.root, file);
    const before = readFileSync(path);
    writeFileSync(path, text);
    try {
      return await body();
    } finally {
      writeFileSync(path, before);
    }
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
