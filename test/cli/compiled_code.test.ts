// The code that V8 compiled of the program is kept, a file a command, in an installation of the test's own.

import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { digestOfMakers } from '../../src/machine/boot/image_makers.ts';
import { buildProgram } from '../built_program.ts';
import { ROOT } from './klpemu.ts';

const ARGS = ['run', join(ROOT, 'fixtures/scenarios/smallest.yaml')];

describe('compiled code of the program', () => {
  let root: string;
  let folder: string;

  beforeAll(() => {
    buildProgram();
  });

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'klpemu-code-'));
    folder = join(root, '.cache/code');
    for (const name of ['src', 'asm', 'data', 'fixtures', 'node_modules'])
      symlinkSync(join(ROOT, name), join(root, name));
    copyFileSync(join(ROOT, 'package.json'), join(root, 'package.json'));
    mkdirSync(join(root, '.cache'));
    mkdirSync(join(ROOT, '.cache/image'), { recursive: true });
    symlinkSync(join(ROOT, '.cache/image'), join(root, '.cache/image'));
    mkdirSync(join(root, 'dist/cli/check'), { recursive: true });
    const names = readdirSync(join(ROOT, 'dist/cli')).filter((name) =>
      /^(main\.js|package\.json|program-.*\.cjs)$/.test(name),
    );
    for (const name of [...names, 'check/worker.js'])
      copyFileSync(join(ROOT, 'dist/cli', name), join(root, 'dist/cli', name));
  });

  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function klpemu(...args: string[]) {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'dist/cli/main.js'), ...args],
      {
        encoding: 'utf8',
      },
    );
    return { status, stdout, stderr };
  }

  function kept(): string {
    const names = readdirSync(folder);
    expect(names).toHaveLength(1);
    return join(folder, names[0] as string);
  }

  it('is kept by the first run and left alone by the next, which prints the same', () => {
    const first = klpemu(...ARGS);
    expect(first).toMatchObject({ status: 0, stderr: '' });
    const { ino } = statSync(kept());
    expect(klpemu(...ARGS)).toEqual(first);
    expect(statSync(kept()).ino).toBe(ino);
  });

  it('is not used when it is damaged or cut short, and made anew', () => {
    const first = klpemu(...ARGS);
    const whole = readFileSync(kept());
    const damaged = Uint8Array.from(whole);
    damaged[whole.length >> 1] = (damaged[whole.length >> 1] as number) ^ 0xff;
    for (const bytes of [damaged, whole.subarray(0, 1000), new Uint8Array(0)]) {
      const file = kept();
      writeFileSync(file, bytes);
      const { ino } = statSync(file);
      expect(klpemu(...ARGS)).toEqual(first);
      expect(statSync(kept()).ino).not.toBe(ino);
    }
  });

  it('has what was called once, long before the end, when V8 would have forgotten it', () => {
    klpemu(...ARGS);
    const whole = statSync(kept()).size;
    rmSync(kept());
    // With each collection, of which there are many, what was not called since the last one.
    const flags = ['--stress-flush-code', '--gc-interval=3000'];
    const { status } = spawnSync(process.execPath, [...flags, join(root, 'dist/cli/main.js'), ...ARGS]);
    expect(status).toBe(0);
    expect(statSync(kept()).size / whole).toBeGreaterThan(0.9);
  });

  it('takes the place of what was kept of another program', () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'program-OLDER.cjs.run'), '');
    klpemu(...ARGS);
    expect(kept()).toMatch(/\.run$/);
    expect(statSync(kept()).size).toBeGreaterThan(1000);
  });

  it('is not kept of a word that is no command', () => {
    expect(klpemu('frob').status).toBe(2);
    expect(() => readdirSync(folder)).toThrow('ENOENT');
  });

  it('knows of which assembler and ORC generator it is, for the images that it caches', () => {
    const name = readdirSync(join(root, 'dist/cli')).find((file) => file.startsWith('program-')) as string;
    const program = readFileSync(join(root, 'dist/cli', name), 'latin1');
    expect(program).toContain(digestOfMakers(ROOT, 'x86_64'));
  });

  it('is kept once for the help of all commands, and not as that of the command', () => {
    expect(klpemu('run', '--help').status).toBe(0);
    expect(kept()).toMatch(/\.help_option$/);
    const { ino } = statSync(kept());
    expect(klpemu('vet', '-h').status).toBe(0);
    expect(statSync(kept()).ino).toBe(ino);
  });

  it.each([
    [1, 'a load that does not fail as expected', ['klpdemo_target.ko, exit: ENOMEM']],
    [3, 'an oops that is not expected', ['klpdemo_target.ko', 'klpdemo_bad_null.ko, exit: killed']],
  ])('is kept of a run that ends with %i: %s', (status, _, loads) => {
    for (const module of loads.map((load) => load.split(',')[0] as string))
      copyFileSync(join(ROOT, 'fixtures/modules', module), join(root, module));
    const scenario = join(root, 'scenario.yaml');
    writeFileSync(scenario, `steps:\n${loads.map((load) => `  - { load: ${load} }\n`).join('')}`);
    expect(klpemu('run', scenario)).toMatchObject({ status, stderr: '' });
    expect(kept()).toMatch(/\.run$/);
  });

  it('is kept of a thread once it has worked for a while, and is used by the next', () => {
    const objects = Array.from({ length: 17 }, (_, i) => {
      const copy = join(root, `object${i}.ko`);
      copyFileSync(join(ROOT, 'fixtures/modules/klpdemo_target.ko'), copy);
      return copy;
    });
    const check = () => klpemu('check', '-j', '2', '--json', ...objects);
    const first = check();
    expect(first.status).toBe(0);
    const names = readdirSync(folder).map((name) => name.replace(/.*\./, ''));
    expect(names.sort()).toEqual(['check', 'check_worker']);
    const worker = join(folder, readdirSync(folder).find((name) => name.endsWith('worker')) as string);
    const { ino } = statSync(worker);
    expect(check().status).toBe(0);
    expect(statSync(worker).ino).toBe(ino);
  });

  it('is done without where nothing can be written', () => {
    writeFileSync(folder, '');
    expect(klpemu(...ARGS)).toMatchObject({ status: 0, stderr: '' });
  });
});
