// Packed modules, and files of other kinds, wherever a command names a module.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = join(ROOT, 'fixtures/modules');
const EXTRA = '/lib/modules/6.1.0-56-amd64/extra';
let dir: string;
const at = (name: string): string => join(dir, name);

const PACKED = [
  ['klpdemo_target.ko', 'gz', gzipSync],
  ['klpdemo_patch_target.ko', 'xz', (input: Uint8Array) => spawnSync('xz', ['-c'], { input }).stdout],
  ['klpdemo_heap.ko', 'zst', (input: Uint8Array) => spawnSync('zstd', ['-cq'], { input }).stdout],
] as const;

beforeAll(() => {
  spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
  dir = mkdtempSync(join(tmpdir(), 'klpemu-packed-'));
  mkdirSync(at('modules'));
  for (const [name, ending, pack] of missing.length > 0 ? [] : PACKED) {
    writeFileSync(at(`modules/${name}.${ending}`), pack(readFileSync(join(MODULES, name))));
  }
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function klpemu(args: string[], env = process.env) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env,
  });
  return { status, stdout, stderr };
}

/** Those that pack the modules of these tests. */
const missing = ['xz', 'zstd'].filter((program) => spawnSync(program, ['--version']).status !== 0);

describe.skipIf(missing.length > 0)(
  `packed modules${missing.map((name) => ` (no ${name})`).join('')}`,
  () => {
    it('are found by modprobe and insmod of the shell, as kmod finds them', () => {
      const script = [
        'modprobe klpdemo_target',
        `insmod ${EXTRA}/klpdemo_patch_target.ko.xz`,
        'sleep 4',
        'cat /proc/klpdemo | head -n 1',
        'modinfo -F name klpdemo_target',
      ].join('; ');
      const { status, stdout, stderr } = klpemu(['shell', '--dir', at('modules'), '-c', script]);
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout).toBe('klpdemo version 2 (livepatched)\nklpdemo_target\n');
    });

    it('are unpacked where no program of the host is found', () => {
      const path = { ...process.env, PATH: '' };
      const script =
        'insmod klpdemo_heap.ko.zst; modprobe klpdemo_patch_target; cat /sys/module/klpdemo_heap/refcnt';
      const inDir = ['shell', '--dir', at('modules'), '-c', script.replace('insmod ', `insmod ${EXTRA}/`)];
      expect(klpemu(inDir, path)).toEqual({ status: 0, stdout: '0\n', stderr: '' });
      for (const file of ['klpdemo_patch_target.ko.xz', 'klpdemo_heap.ko.zst']) {
        const { status, stderr } = klpemu(['orc', '--diff', at(`modules/${file}`)], path);
        expect([status, stderr]).toEqual([0, '']);
      }
    });

    it('are loaded by scenarios', () => {
      writeFileSync(
        at('packed.yaml'),
        [
          'modules: [modules/klpdemo_target.ko.gz, modules/klpdemo_patch_target.ko.xz]',
          'steps:',
          '  - load: klpdemo_target',
          '  - load: klpdemo_patch_target',
          '',
        ].join('\n'),
      );
      const { status, stdout } = klpemu(['run', at('packed.yaml')]);
      expect(status).toBe(0);
      expect(stdout).toContain('$ insmod klpdemo_patch_target.ko\n');
    });

    it('are read by orc, check and klp-convert', () => {
      const file = at('modules/klpdemo_target.ko.gz');
      expect(klpemu(['orc', '--diff', file]).status).toBe(0);
      const { status, stderr } = klpemu(['klp-convert', file, at('out.ko')]);
      expect(status).toBe(2);
      expect(stderr).toContain('not a livepatch');
    });

    it('that are broken are told with their name, and by scenarios with the line', () => {
      const broken = Buffer.concat([readFileSync(at('modules/klpdemo_target.ko.gz')).subarray(0, 900)]);
      mkdirSync(at('broken'));
      writeFileSync(at('broken/x.ko.gz'), broken);
      writeFileSync(at('broken.yaml'), 'modules:\n  - broken/x.ko.gz\nsteps:\n  - load: x\n');
      const run = klpemu(['run', at('broken.yaml')]);
      expect(run.status).toBe(2);
      expect(run.stderr).toMatch(/broken\.yaml:2:5: modules\[0\]: .*x\.ko\.gz: cannot be unpacked: /);
      const shell = klpemu(['shell', '--dir', at('broken'), '-c', `insmod ${EXTRA}/x.ko.gz`]);
      expect(shell.status).toBe(1);
      expect(shell.stderr).toMatch(/depmod: ERROR: .*x\.ko\.gz: .*cannot be unpacked/);
      expect(shell.stderr).toMatch(/insmod: ERROR: could not insert module .*: Invalid module format\n/);
      expect(shell.stderr).toMatch(/klpemu: .*cannot be unpacked/);
    });
  },
);

describe('klpemu run of what is no scenario', () => {
  it.each([
    [
      'a module',
      join(MODULES, 'klpdemo_target.ko'),
      /this is a kernel module or object: no scenario \(YAML\)\./,
    ],
    [
      'a patch bundle',
      join(ROOT, 'fixtures/bundles/v1.klpb'),
      /this is a tar archive \(a patch bundle is one\)/,
    ],
  ])('says what it is, and the way out: %s', (_what, file, message) => {
    const { status, stdout, stderr } = klpemu(['run', file]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd()).not.toContain('\n');
  });
});
