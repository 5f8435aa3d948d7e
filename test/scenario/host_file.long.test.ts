// Which files of the host a scenario gets: those that came with it, and none that have no end.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOST_FILE_MAX } from '../../src/scenario/host_file.ts';
import { loadScenario, parseScenario } from '../../src/scenario/parse.ts';

let dir: string;
let file: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-host-'));
  for (const name of ['own/below', 'modules/deep', 'bundles', 'other', 'links']) {
    mkdirSync(join(dir, name), { recursive: true });
    writeFileSync(join(dir, name, 'data'), name);
  }
  writeFileSync(join(dir, 'secret'), 'secret');
  writeFileSync(join(dir, 'own/data'), 'own');
  symlinkSync('../secret', join(dir, 'own/link'));
  symlinkSync('..', join(dir, 'own/up'));
  symlinkSync('data', join(dir, 'own/inner'));
  symlinkSync('../other', join(dir, 'links/modules'));
  spawnSync('mkfifo', [join(dir, 'own/fifo')]);
  writeFileSync(join(dir, 'own/large'), '');
  truncateSync(join(dir, 'own/large'), HOST_FILE_MAX + 1);
  file = join(dir, 'own/test.yaml');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Why a path is refused; undefined when it is not. */
function refused(path: string, allowFiles = false, scenario = file): string | undefined {
  try {
    parseScenario(`files: { /x: { from: ${JSON.stringify(path)} } }`, scenario, { allowFiles });
    return undefined;
  } catch (error) {
    expect((error as Error).message).toMatch(new RegExp(`^${scenario}:1:\\d+: files`));
    return (error as Error).message;
  }
}

describe('a file that a scenario names', () => {
  it('may lie below its folder, and in modules and bundles beside it', () => {
    for (const path of [
      'data',
      './below/data',
      '../modules/deep/data',
      '../bundles/data',
      'inner',
      join(dir, 'own/data'),
    ])
      expect(refused(path), path).toBeUndefined();
  });

  it('may not lie elsewhere, by .. or by links, without --allow-files', () => {
    for (const path of [
      '../secret',
      '../other/data',
      '/etc/hostname',
      'below/../../secret',
      '../own.yaml/../secret',
    ]) {
      expect(refused(path), path).toMatch(/is not below .*: --allow-files/);
    }
    for (const path of ['link', 'up/secret', 'up/other/data']) {
      expect(refused(path), path).toMatch(/leads to .*: --allow-files/);
    }
    for (const path of ['../secret', 'link', 'up/other/data'])
      expect(refused(path, true), path).toBeUndefined();
    // A folder beside it that is a link to somewhere else.
    mkdirSync(join(dir, 'links/own'));
    expect(refused('../modules/data', false, join(dir, 'links/own/test.yaml'))).toMatch(
      /leads to .*--allow-files/,
    );
  });

  it('is a regular file of a size that has an end, whatever is allowed', () => {
    expect(refused('/dev/zero', true)).toMatch(/is no regular file/);
    expect(refused('/dev/zero')).toMatch(/is not below/);
    for (const path of ['fifo', 'below']) expect(refused(path), path).toMatch(/is no regular file/);
    expect(refused('large')).toMatch(/is larger than 256 MiB/);
    expect(refused('nothing')).toMatch(/no such file/);
  });

  it('is checked for modules too', () => {
    const load = () => parseScenario('steps: [{ load: ../other/x.ko }]', file);
    expect(load).toThrow(/steps\[0\].load: .* is not below/);
  });

  it('is not the scenario itself where that has no end', () => {
    expect(() => loadScenario('/dev/zero')).toThrow('/dev/zero:1:1: is larger than 16 MiB');
  });
});
