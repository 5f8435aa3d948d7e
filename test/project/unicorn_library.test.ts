import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseUnicorn, firstThatFits, tryUnicorn } from '../../src/arch/x86_64/unicorn/unicorn_choice.ts';
import { UnicornNotFoundError, unicornCandidates } from '../../src/arch/x86_64/unicorn/unicorn_library.ts';
import { packageRoot } from '../../src/guest/package_root.ts';
import { NO_UNICORN } from '../guest/unicorn_there.ts';

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

const first = (env: Record<string, string> = {}) => unicornCandidates(search(env))[0];

describe('finding the Unicorn library', () => {
  it('takes the cache before the system, and KLPEMU_UNICORN alone where it is set', () => {
    const system = file('lib/libunicorn.so.2');
    expect(unicornCandidates(search())).toEqual([{ path: system, from: 'system' }]);
    const cached = file('checkout/.cache/unicorn/usr/lib/x86_64-linux-gnu/libunicorn.so.2');
    expect(unicornCandidates(search())).toEqual([
      { path: cached, from: 'cache' },
      { path: system, from: 'system' },
    ]);
    const own = file('own/unicorn.so');
    expect(unicornCandidates(search({ KLPEMU_UNICORN: own }))).toEqual([
      { path: own, from: 'KLPEMU_UNICORN' },
    ]);
  });

  it('accepts a directory in KLPEMU_UNICORN', () => {
    const own = file('own/libunicorn.so.2');
    expect(first({ KLPEMU_UNICORN: dirname(own) })?.path).toBe(own);
  });

  it('prefers the name of version 2 to the bare one, and offers one file once', () => {
    const two = file('lib/libunicorn.so.2');
    symlinkSync('libunicorn.so.2', join(dir, 'lib/libunicorn.so'));
    symlinkSync('lib', join(dir, 'lib64'));
    const paths = unicornCandidates({ ...search(), systemDirs: [join(dir, 'lib'), join(dir, 'lib64')] });
    expect(paths).toEqual([{ path: two, from: 'system' }]);
    const other = file('other/libunicorn.so');
    expect(unicornCandidates({ ...search(), systemDirs: [join(dir, 'lib'), join(dir, 'other')] })).toEqual([
      { path: two, from: 'system' },
      { path: other, from: 'system' },
    ]);
  });

  it('looks through the directories in their order', () => {
    file('lib/libunicorn.so.2');
    const other = file('lib64/libunicorn.so.2');
    expect(first()?.path).toBe(other);
  });

  it('finds the dylib on macOS', () => {
    const dylib = file('lib/libunicorn.2.dylib');
    expect(unicornCandidates({ ...search(), platform: 'darwin' })[0]?.path).toBe(dylib);
  });

  it('refuses a KLPEMU_UNICORN that points to nothing rather than look elsewhere', () => {
    file('lib/libunicorn.so.2');
    expect(() => first({ KLPEMU_UNICORN: '/nowhere/libunicorn.so' })).toThrow(
      new UnicornNotFoundError('KLPEMU_UNICORN=/nowhere/libunicorn.so: no such file'),
    );
    expect(() => first({ KLPEMU_UNICORN: dir })).toThrow(/no libunicorn.so.2 or libunicorn.so/);
  });

  it('finds the package folder it belongs to', () => {
    expect(packageRoot()).toBe(join(import.meta.dirname, '../..'));
  });
});

describe.skipIf(NO_UNICORN)(`choosing the Unicorn library (${NO_UNICORN ?? 'here'})`, () => {
  /** The one that the other tests use. */
  const real = NO_UNICORN ? { path: '', version: '', calibration: {} } : chooseUnicorn();
  const told: string[] = [];
  const among = (dirs: string[], env: Record<string, string> = {}) =>
    firstThatFits({ ...search(env), systemDirs: dirs }, (line) => told.push(line));

  it('opens an engine and calibrates it, and knows the version', () => {
    expect(real.version).toMatch(/^2\.\d+\.\d+$/);
    expect(tryUnicorn(real.path).calibration).toEqual(real.calibration);
  });

  it('goes on to the next one behind one that does not fit, and tells both once', () => {
    const bad = file('bad/libunicorn.so.2');
    const used = among([dirname(bad), dirname(real.path)]);
    expect(used.version).toBe(real.version);
    expect(told).toHaveLength(1);
    expect(told[0]).toContain(`the Unicorn library ${bad} does not fit (cannot be loaded: `);
    expect(told[0]).toContain(`; ${used.path} (version ${real.version}) is used. KLPEMU_UNICORN can name`);
  });

  it('says all that was tried and the way out when none fits', () => {
    const bad = file('bad/libunicorn.so.2');
    expect(() => among([dirname(bad)])).toThrow(
      /no Unicorn library that fits:\n {2}\S+ does not fit[\s\S]*2\.1\.4 are known to work\. Install[\s\S]*dnf/,
    );
    expect(() => among([dirname(real.path)], { KLPEMU_UNICORN: bad })).toThrow(
      /in KLPEMU_UNICORN that fits:[\s\S]*Unset KLPEMU_UNICORN, or install one/,
    );
  });

  it('says which package to install and which variable to set when there is none', () => {
    expect(() => among([])).toThrow(
      /was not found[\s\S]*libunicorn2[\s\S]*Fedora[\s\S]*brew[\s\S]*KLPEMU_UNICORN/,
    );
  });
});
