// The package as users get it: packed, and installed in an empty folder.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
/** What a checkout has that is not in the repository. */
const NOT_COPIED = /^(node_modules|dist|\.cache|\.git)(\/|$)/;

let dir: string;
let files: string[];

function run(
  command: string,
  args: string[],
  cwd: string,
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 26 });
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-package-'));
  const copy = join(dir, 'checkout');
  cpSync(ROOT, copy, { recursive: true, filter: (path) => !NOT_COPIED.test(relative(ROOT, path)) });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const whole = readFileSync(join(copy, 'package.json'), 'utf8');
  execFileSync('npm', ['pack', '--silent', '--pack-destination', dir], {
    cwd: copy,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  expect(readFileSync(join(copy, 'package.json'), 'utf8')).toBe(whole);
  const { version } = JSON.parse(whole);
  const tarball = join(dir, `klpemu-${version}.tgz`);
  files = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
  mkdirSync(join(dir, 'empty'));
  const install = [
    'install',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--prefer-offline',
    '--omit=optional',
    tarball,
  ];
  execFileSync('npm', install, { cwd: join(dir, 'empty'), stdio: ['ignore', 'ignore', 'inherit'] });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const isFixture = (file: string): boolean => file.startsWith('klpemu/fixtures/');
const klpemu = (...args: string[]) => run('node_modules/.bin/klpemu', args, join(dir, 'empty'));

describe('the package', () => {
  it('has the docs, and neither source maps nor scripts of a checkout nor objects of tests', () => {
    expect(files).toContain('package/docs/api.md');
    expect(files).toContain('package/CHANGELOG.md');
    expect(files).toContain('package/docs/scenario.md');
    const unwanted = /\.map$|^package\/(scripts|test|src|bench)\/|fixtures\/objects|\/\.[^/]*$|\.test\./;
    expect(files.filter((file) => unwanted.test(file))).toEqual([]);
    const manifest = JSON.parse(readFileSync(join(dir, 'empty/node_modules/klpemu/package.json'), 'utf8'));
    expect(manifest.scripts).toBeUndefined();
    const code = files.filter((file) => file.endsWith('.js')).map((file) => file.replace(/^package/, ''));
    for (const file of code)
      expect(readFileSync(join(dir, 'empty/node_modules/klpemu', file), 'utf8')).not.toMatch(
        /sourceMappingURL=\S+\.map$/m,
      );
  });

  it('shows the demo, from wherever it is installed', () => {
    const { status, stdout, stderr } = klpemu('demo', '--quiet');
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^ok: \d+ expectations held/m);
    expect(status).toBe(0);
  });

  it('has the processor with it, and loads nothing native to run a machine', () => {
    expect(files).toContain('package/data/core.wasm');
    expect(existsSync(join(dir, 'empty/node_modules/koffi'))).toBe(false);
    writeFileSync(
      join(dir, 'empty/native.mjs'),
      `import { Machine } from 'klpemu';
       import { readFileSync } from 'node:fs';
       const machine = await Machine.boot();
       machine.runFor(1e9);
       const mapped = new Set(readFileSync('/proc/self/maps', 'utf8').match(/\\S+\\.(?:node|so[.\\d]*)$/gm));
       console.log([...mapped].filter((file) => file.endsWith('.node') || file.includes('unicorn')).length);`,
    );
    const { stdout, stderr, status } = run(process.execPath, ['native.mjs'], join(dir, 'empty'));
    expect([stdout, stderr, status]).toEqual(['0\n', '', 0]);
  });

  it('has no native part among its dependencies, so that it is the same on every architecture that Node runs on', () => {
    const all = readdirSync(join(dir, 'empty/node_modules'), { recursive: true, encoding: 'utf8' });
    expect(
      all.filter((file) => /\.(?:node|so|a|o|exe|dll|dylib|gyp)$/.test(file) && !isFixture(file)),
    ).toEqual([]);
    for (const file of all.filter((name) => name.endsWith('package.json') && !isFixture(name))) {
      const path = join(dir, 'empty/node_modules', file);
      const { os, cpu, scripts } = JSON.parse(readFileSync(path, 'utf8'));
      expect([file, os, cpu, scripts?.install, scripts?.postinstall]).toEqual([file, ...Array(4)]);
    }
    const demo = ['--no-addons', 'node_modules/klpemu/dist/cli/main.js', 'demo', '--quiet'];
    expect(run(process.execPath, demo, join(dir, 'empty')).status).toBe(0);
  });

  it('names in --help only files that are there, and they do what the example says', () => {
    const commands = [...klpemu('--help').stdout.matchAll(/^ {2}([a-z][a-z-]+) /gm)].map(([, name]) => name);
    const named = [[], ...commands.filter((name) => name !== 'help').map((name) => [name])].flatMap(
      (command) => {
        const { stdout } = klpemu(...command, '--help');
        return stdout.match(/\S*fixtures\/\S*[\w]/g) ?? [];
      },
    );
    expect(named.length).toBeGreaterThan(5);
    for (const path of named) expect(existsSync(join(dir, 'empty', path)), path).toBe(true);
    expect(
      klpemu('orc', named.find((path) => path.endsWith('klpdemo_target.ko')) as string, '-o', 'x.ko').status,
    ).toBe(0);
  });

  it('runs what README.md prints for TypeScript', () => {
    const [snippet] = readFileSync(join(ROOT, 'README.md'), 'utf8').match(
      /(?: {4}import .*\n)+\n(?:(?: {4}.*)?\n)+/,
    ) ?? [''];
    writeFileSync(join(dir, 'empty/snippet.mjs'), snippet.replace(/^ {4}/gm, ''));
    cpSync(join(ROOT, 'fixtures/modules/klpdemo_target.ko'), join(dir, 'empty/target.ko'));
    const { status, stdout, stderr } = run(process.execPath, ['snippet.mjs'], join(dir, 'empty'));
    expect(stderr).toBe('');
    expect(stdout).toContain('klpdemo_target: loaded');
    expect(status).toBe(0);
  });
});
