import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  findUnicornLibrary,
  locateUnicorn,
  packageRoot,
  UnicornNotFoundError,
} from '../../src/guest/unicorn_library.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-library-'));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function file(path: string): string {
  const full = join(dir, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, '');
  return full;
}

const search = (env: Record<string, string> = {}) => ({
  env,
  root: join(dir, 'checkout'),
  platform: 'linux',
  systemDirs: [join(dir, 'lib64'), join(dir, 'lib')],
});

describe('finding the Unicorn library', () => {
  it('takes KLPEMU_UNICORN before the cache, and the cache before the system', () => {
    const system = file('lib/libunicorn.so.2');
    expect(locateUnicorn(search())).toEqual({ path: system, from: 'system' });
    const cached = file('checkout/.cache/unicorn/usr/lib/x86_64-linux-gnu/libunicorn.so.2');
    expect(locateUnicorn(search())).toEqual({ path: cached, from: 'cache' });
    const own = file('own/unicorn.so');
    expect(locateUnicorn(search({ KLPEMU_UNICORN: own }))).toEqual({ path: own, from: 'KLPEMU_UNICORN' });
  });

  it('accepts a directory in KLPEMU_UNICORN', () => {
    const own = file('own/libunicorn.so.2');
    expect(locateUnicorn(search({ KLPEMU_UNICORN: dirname(own) }))?.path).toBe(own);
  });

  it('prefers the name of version 2 to the bare one', () => {
    file('lib/libunicorn.so');
    const two = file('lib/libunicorn.so.2');
    expect(locateUnicorn(search())?.path).toBe(two);
  });

  it('looks through the directories in their order', () => {
    file('lib/libunicorn.so.2');
    const first = file('lib64/libunicorn.so.2');
    expect(locateUnicorn(search())?.path).toBe(first);
  });

  it('finds the dylib on macOS', () => {
    const dylib = file('lib/libunicorn.2.dylib');
    expect(locateUnicorn({ ...search(), platform: 'darwin' })?.path).toBe(dylib);
  });

  it('refuses a KLPEMU_UNICORN that points to nothing rather than look elsewhere', () => {
    file('lib/libunicorn.so.2');
    expect(() => locateUnicorn(search({ KLPEMU_UNICORN: '/nowhere/libunicorn.so' }))).toThrow(
      new UnicornNotFoundError('KLPEMU_UNICORN=/nowhere/libunicorn.so: no such file'),
    );
    expect(() => locateUnicorn(search({ KLPEMU_UNICORN: dir }))).toThrow(
      /no libunicorn.so.2 or libunicorn.so/,
    );
  });

  it('says which package to install and which variable to set when it is nowhere', () => {
    expect(locateUnicorn(search())).toBeUndefined();
    expect(() => findUnicornLibrary(search())).toThrow(
      /libunicorn2[\s\S]*Fedora[\s\S]*brew[\s\S]*KLPEMU_UNICORN/,
    );
  });

  it('finds the package folder it belongs to', () => {
    expect(packageRoot()).toBe(join(import.meta.dirname, '../..'));
  });
});
