import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensurePackages, whyPackagesAreStale } from '../../scripts/setup/npm_packages.mjs';
import { CommandError, capture, run } from '../../scripts/setup/run.ts';
import { ensureUnicorn, probeUnicorn } from '../../scripts/setup/unicorn.ts';
import {
  UNICORN_CACHE,
  UNICORN_WAYS,
  unicornCandidates,
  unicornMissingMessage,
} from '../../src/arch/x86_64/unicorn/unicorn_library.ts';

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
    const port = {
      run: (_: string, args: string[], { env }: { env: Record<string, string | undefined> }) => {
        commands.push(args.join(' '));
        expect(env).toEqual({ NODE_NO_WARNINGS: '1' });
      },
      log: () => {},
    };
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
  /**
   * A machine on which `effects` says what a command leaves behind; every other command fails. Its package lists
   * know the package by `name`, once they are there. A library whose file says "misfit" does not fit.
   */
  function machine(
    options: { isRoot: boolean; hasApt: boolean; name?: string; lists?: 'system' | 'after update' | 'own' },
    effects: Record<string, () => void>,
  ) {
    const { name = 'libunicorn2t64', lists = 'system', ...rest } = options;
    let updated = lists === 'system';
    return {
      ...rest,
      env: {} as Record<string, string>,
      candidates() {
        return unicornCandidates({
          env: this.env,
          root,
          platform: 'linux',
          systemDirs: [join(root, 'local'), join(root, 'system')],
        });
      },
      probe: (path: string) =>
        readFileSync(path, 'utf8') === 'misfit' ? { misfit: 'no counter' } : { version: '2.1.1' },
      missingMessage: unicornMissingMessage,
      ways: UNICORN_WAYS,
      log: (line: string) => messages.push(line),
      capture: (command: string, args: readonly string[]) => {
        const line = [command, ...args].join(' ');
        if (command === 'apt-cache') return updated ? `${name}-dev\n${name}\n` : '';
        commands.push(line);
        const own = line.includes('Dir::State=');
        if (args.includes('update') && (lists === 'after update' || (lists === 'own' && own))) {
          updated = true;
          return '';
        }
        const effect = Object.entries(effects).find(([pattern]) => new RegExp(pattern).test(line))?.[1];
        if (!effect) throw new CommandError(`${line}: exit status 100`);
        effect();
        return '';
      },
    };
  }

  const intoSystem = () => write('system/libunicorn.so.2');
  const intoDownload = () => write(`${UNICORN_CACHE}/deb/libunicorn2t64_2.1.1_amd64.deb`);
  const unpacked = () => write(`${UNICORN_CACHE}/usr/lib/x86_64-linux-gnu/libunicorn.so.2`);

  it('is left alone when it is there and fits, without a word', () => {
    intoSystem();
    const found = ensureUnicorn(root, machine({ isRoot: true, hasApt: true }, {}));
    expect(found).toMatchObject({ from: 'system', version: '2.1.1', afterMisfit: false });
    expect(commands).toEqual([]);
    expect(messages).toEqual([]);
  });

  it.each(['libunicorn2', 'libunicorn2t64'])('is installed by apt as root by the name %s', (name) => {
    const port = machine({ isRoot: true, hasApt: true, name }, { [`install .* ${name}$`]: intoSystem });
    expect(ensureUnicorn(root, port).from).toBe('system');
    expect(commands).toHaveLength(1);
  });

  it('is installed after an update of the lists when they do not have it', () => {
    const port = machine(
      { isRoot: true, hasApt: true, lists: 'after update' },
      { 'install .* libunicorn2t64$': intoSystem },
    );
    expect(ensureUnicorn(root, port).from).toBe('system');
    expect(commands.map((line) => line.split(' ')[1])).toEqual(['update', 'install']);
    expect(messages).toEqual(['installing the Unicorn library by apt']);
  });

  it('is installed after an update of the lists when they name a file that is gone', () => {
    let tries = 0;
    const port = machine(
      { isRoot: true, hasApt: true },
      {
        'apt-get update': () => {},
        'install .* libunicorn2t64$': () => {
          if (++tries === 1) throw new CommandError('404 Not Found');
          intoSystem();
        },
      },
    );
    expect(ensureUnicorn(root, port).from).toBe('system');
    expect(messages).toEqual(['installing the Unicorn library by apt']);
  });

  it('is unpacked into the checkout without root, and nothing else is left there', () => {
    const port = machine(
      { isRoot: false, hasApt: true },
      { 'download .*libunicorn2t64$': intoDownload, 'dpkg-deb -x': unpacked },
    );
    expect(ensureUnicorn(root, port).from).toBe('cache');
    expect(commands.some((line) => line.includes('install'))).toBe(false);
    expect(existsSync(join(root, UNICORN_CACHE, 'deb'))).toBe(false);
    expect(existsSync(join(root, UNICORN_CACHE, 'apt'))).toBe(false);
  });

  it('fetches package lists of its own when the system has none', () => {
    const port = machine(
      { isRoot: false, hasApt: true, lists: 'own' },
      { 'download .*libunicorn2t64$': intoDownload, 'dpkg-deb -x': unpacked },
    );
    expect(ensureUnicorn(root, port).from).toBe('cache');
    expect(commands[0]).toMatch(/-o Dir::State=.* update/);
  });

  it('is unpacked into the checkout when apt fails as root', () => {
    const port = machine(
      { isRoot: true, hasApt: true },
      { 'download .*libunicorn2t64$': intoDownload, 'dpkg-deb -x': unpacked },
    );
    expect(ensureUnicorn(root, port).from).toBe('cache');
    expect(messages.join('\n')).toMatch(/by apt failed: .*exit status 100/);
  });

  it('that does not fit is told once, and the next one is used', () => {
    write('local/libunicorn.so.2', 'misfit');
    intoSystem();
    const found = ensureUnicorn(root, machine({ isRoot: true, hasApt: true }, {}));
    expect(found).toMatchObject({ path: join(root, 'system/libunicorn.so.2'), afterMisfit: true });
    expect(messages).toEqual([
      `the Unicorn library ${root}/local/libunicorn.so.2 does not fit (no counter)`,
      `${root}/system/libunicorn.so.2 (version 2.1.1) fits, and is used instead`,
    ]);
  });

  it('that does not fit is told once also where others are installed and unpacked after it', () => {
    write(`${UNICORN_CACHE}/libunicorn.so.2`, 'misfit');
    write('local/libunicorn.so.2', 'misfit');
    const port = machine(
      { isRoot: true, hasApt: true },
      {
        'install .* libunicorn2t64$': () => write('system/libunicorn.so.2', 'misfit'),
        'download .*libunicorn2t64$': intoDownload,
        'dpkg-deb -x': unpacked,
      },
    );
    expect(ensureUnicorn(root, port)).toMatchObject({ from: 'cache', afterMisfit: true });
    expect(messages.filter((line) => line.includes('does not fit'))).toHaveLength(3);
    expect(messages.filter((line) => line.includes('/local/'))).toHaveLength(1);
  });

  it('that KLPEMU_UNICORN names and that does not fit is an error: nothing is installed for it', () => {
    write('own/libunicorn.so.2', 'misfit');
    intoSystem();
    const port = machine({ isRoot: true, hasApt: true }, {});
    port.env.KLPEMU_UNICORN = join(root, 'own');
    expect(() => ensureUnicorn(root, port)).toThrow(
      /Unset it, name another, or install one:\n.*libunicorn2t64/,
    );
    expect(commands).toEqual([]);
  });

  it('is asked for, with package and variable named, where nothing helps', () => {
    for (const hasApt of [false, true]) {
      const port = machine({ isRoot: false, hasApt, lists: 'own' }, {});
      expect(() => ensureUnicorn(root, port)).toThrow(/Fedora .*dnf install unicorn[\s\S]*KLPEMU_UNICORN/);
    }
  });

  it('that ends the process that tries it does not end the setup', () => {
    write('killed.mjs', 'process.kill(process.pid, "SIGSEGV")');
    write('fits.mjs', 'console.log(JSON.stringify({ version: process.argv[2] }))');
    expect(probeUnicorn(join(root, 'killed.mjs'), 'x')).toEqual({
      misfit: 'it ended the process that tried it, SIGSEGV',
    });
    expect(probeUnicorn(join(root, 'fits.mjs'), '2.1.1')).toEqual({ version: '2.1.1' });
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

  it('keep what they complain of for the error', () => {
    const node = process.execPath;
    expect(capture(node, ['-e', 'console.log(1); console.error("E: nothing")'])).toBe('1\n');
    expect(() => capture(node, ['-e', 'console.error("E: nothing"); process.exit(3)'])).toThrow(
      /exit status 3\nE: nothing$/,
    );
  });
});
