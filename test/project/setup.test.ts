import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensurePackages, whyPackagesAreStale } from '../../scripts/setup/npm_packages.mjs';
import { CommandError, run } from '../../scripts/setup/run.mjs';
import { ensureUnicorn } from '../../scripts/setup/unicorn.mjs';
import { locateUnicorn, UNICORN_CACHE, unicornMissingMessage } from '../../src/guest/unicorn_library.ts';

let root: string;
let commands: string[];
let messages: string[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'klpemu-setup-'));
  commands = [];
  messages = [];
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text = ''): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

describe('npm packages', () => {
  const lock = (version: string) =>
    JSON.stringify({
      packages: {
        '': { name: 'klpemu' },
        'node_modules/zod': { version },
        'node_modules/fsevents': { version: '2.0.0', optional: true },
      },
    });

  function installed(version: string): void {
    write('node_modules/.package-lock.json', lock(version));
    write('node_modules/zod/package.json', '{}');
  }

  it('are stale when node_modules is missing, when a version differs, when a folder is gone', () => {
    write('package-lock.json', lock('4.1.0'));
    expect(whyPackagesAreStale(root)).toBe('node_modules is missing');
    installed('4.0.0');
    expect(whyPackagesAreStale(root)).toBe('node_modules/zod is 4.0.0, not 4.1.0');
    installed('4.1.0');
    expect(whyPackagesAreStale(root)).toBeUndefined();
    rmSync(join(root, 'node_modules/zod'), { recursive: true });
    expect(whyPackagesAreStale(root)).toBe('node_modules/zod is missing');
  });

  it('are installed by npm ci, development packages included, only when stale', () => {
    const port = { run: (_: string, args: string[]) => commands.push(args.join(' ')), log: () => {} };
    write('package-lock.json', lock('4.1.0'));
    ensurePackages(root, port);
    expect(commands).toHaveLength(1);
    expect(commands[0]).toMatch(/ci --include=dev/);
    installed('4.1.0');
    ensurePackages(root, port);
    expect(commands).toHaveLength(1);
  });
});

describe('the Unicorn library', () => {
  /** A machine on which `effects` says what a command leaves behind; every other command fails. */
  function machine(options: { isRoot: boolean; hasApt: boolean }, effects: Record<string, () => void>) {
    return {
      ...options,
      find: () => locateUnicorn({ env: {}, root, platform: 'linux', systemDirs: [join(root, 'system')] }),
      missingMessage: unicornMissingMessage,
      log: (line: string) => messages.push(line),
      run: (command: string, args: string[]) => {
        const line = [command, ...args].join(' ');
        commands.push(line);
        const effect = Object.entries(effects).find(([pattern]) => new RegExp(pattern).test(line))?.[1];
        if (!effect) throw new CommandError(`${line}: exit status 100`);
        effect();
      },
    };
  }

  const intoSystem = () => write('system/libunicorn.so.2');
  const intoDownload = () => write(`${UNICORN_CACHE}/deb/libunicorn2_2.0.1_amd64.deb`);
  const unpacked = () => write(`${UNICORN_CACHE}/usr/lib/x86_64-linux-gnu/libunicorn.so.2`);

  it('is left alone when it is there', () => {
    intoSystem();
    expect(ensureUnicorn(root, machine({ isRoot: true, hasApt: true }, {})).from).toBe('system');
    expect(commands).toEqual([]);
  });

  it('is installed by apt as root', () => {
    const port = machine({ isRoot: true, hasApt: true }, { 'install .* libunicorn2$': intoSystem });
    expect(ensureUnicorn(root, port).from).toBe('system');
    expect(commands).toHaveLength(1);
  });

  it('is installed after an update of the lists when the first try fails', () => {
    let updated = false;
    const port = machine(
      { isRoot: true, hasApt: true },
      {
        'apt-get update': () => {
          updated = true;
        },
        'install .* libunicorn2$': () => {
          if (!updated) throw new CommandError('unable to locate package');
          intoSystem();
        },
      },
    );
    expect(ensureUnicorn(root, port).from).toBe('system');
    expect(commands.map((line) => line.split(' ')[1])).toEqual(['install', 'update', 'install']);
  });

  it('is unpacked into the checkout without root, and nothing else is left there', () => {
    const port = machine(
      { isRoot: false, hasApt: true },
      { 'download .*libunicorn2$': intoDownload, 'dpkg-deb -x': unpacked },
    );
    expect(ensureUnicorn(root, port).from).toBe('cache');
    expect(commands.some((line) => line.includes('install'))).toBe(false);
    expect(existsSync(join(root, UNICORN_CACHE, 'deb'))).toBe(false);
    expect(existsSync(join(root, UNICORN_CACHE, 'apt'))).toBe(false);
  });

  it('fetches package lists of its own when the system has none', () => {
    let updated = false;
    const port = machine(
      { isRoot: false, hasApt: true },
      {
        '-o Dir::State=.* update': () => {
          updated = true;
        },
        'download .*libunicorn2$': () => {
          if (!updated) throw new CommandError('unable to locate package');
          intoDownload();
        },
        'dpkg-deb -x': unpacked,
      },
    );
    expect(ensureUnicorn(root, port).from).toBe('cache');
  });

  it('is unpacked into the checkout when apt fails as root', () => {
    const port = machine(
      { isRoot: true, hasApt: true },
      { 'download .*libunicorn2$': intoDownload, 'dpkg-deb -x': unpacked },
    );
    expect(ensureUnicorn(root, port).from).toBe('cache');
    expect(messages.join('\n')).toMatch(/by apt failed: .*exit status 100/);
  });

  it('is asked for, with package and variable named, where nothing helps', () => {
    for (const hasApt of [false, true]) {
      const port = machine({ isRoot: false, hasApt }, {});
      expect(() => ensureUnicorn(root, port)).toThrow(/Fedora .*dnf install unicorn[\s\S]*KLPEMU_UNICORN/);
    }
  });
});

describe('commands of the setup', () => {
  it('name themselves when they fail', () => {
    const node = process.execPath;
    expect(() => run(node, ['-e', 'process.exit(3)'], { quiet: true })).toThrow(
      /process\.exit\(3\): exit status 3/,
    );
    expect(() => run('klpemu-no-such-program', [], { quiet: true })).toThrow(
      /klpemu-no-such-program: .*ENOENT/,
    );
  });
});
