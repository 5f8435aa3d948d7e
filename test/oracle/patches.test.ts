// A set of livepatches for the oracle: what it is for is read from the files, and every way of coming and going is in it.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readArguments } from '../../scripts/oracle/arguments.ts';
import { sequencesOf } from '../../scripts/oracle/operations.ts';
import { folderOf, operationsOf, readPatches } from '../../scripts/oracle/patches.ts';
import { ROOT } from '../../scripts/root.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';

const fixture = (name: string): string => join(ROOT, 'fixtures/modules', `${name}.ko`);
const read = (...args: string[]) => readArguments(['--kernel', '6.1', ...args], ['6.1', '6.12', '7.3']);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'klpemu-patches-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a set of livepatches', () => {
  const both = readPatches([fixture('klpdemo_patch_both')], BUILT_IN)[0];

  it('is read from its files: names, and which modules each is for', () => {
    expect(both).toEqual({
      file: 'klpdemo_patch_both',
      name: 'klpdemo_patch_both',
      targets: ['klpdemo_target'],
    });
  });

  it('has every one come and go alone, with its modules behind it and before it, and looks after each step', () => {
    const operations = operationsOf([both]);
    const about = operations.filter(
      (line) => /modprobe|rmmod|enabled$/.test(line) && !line.startsWith('cat'),
    );
    expect(about).toEqual([
      'modprobe klpdemo_patch_both',
      'modprobe klpdemo_target',
      'rmmod klpdemo_target',
      'modprobe klpdemo_target',
      'echo 0 > /sys/kernel/livepatch/klpdemo_patch_both/enabled',
      'rmmod klpdemo_patch_both',
      'rmmod klpdemo_target',
      'modprobe klpdemo_target',
      'modprobe klpdemo_patch_both',
      'echo 0 > /sys/kernel/livepatch/klpdemo_patch_both/enabled',
      'rmmod klpdemo_patch_both',
      'rmmod klpdemo_target',
    ]);
    expect(operations).toContain('cat /sys/kernel/livepatch/klpdemo_patch_both/klpdemo_target/patched');
  });

  it('has all of them on top of each other, and away from the last on', () => {
    const other = { file: 'other-patch', name: 'other_patch', targets: [] };
    const joint = operationsOf([both, other]).slice(
      operationsOf([both]).length + operationsOf([other]).length,
    );
    expect(joint.filter((line) => /^(?:modprobe|rmmod|echo)/.test(line))).toEqual([
      'modprobe klpdemo_target',
      'modprobe klpdemo_patch_both',
      'modprobe other-patch',
      'echo 0 > /sys/kernel/livepatch/other_patch/enabled',
      'rmmod other_patch',
      'echo 0 > /sys/kernel/livepatch/klpdemo_patch_both/enabled',
      'rmmod klpdemo_patch_both',
      'rmmod klpdemo_target',
    ]);
  });

  it('is what is run, after livepatch was told to say what it does', () => {
    const options = read('--patches', 'a.ko', 'b.ko');
    if (options === 'help') throw new Error('help');
    expect(options.patches).toEqual(['a.ko', 'b.ko']);
    const [{ name, operations }] = sequencesOf(options, '6.1.0-56-amd64', [both]);
    expect(name).toBe('patches');
    expect(operations.slice(-operationsOf([both]).length)).toEqual(operationsOf([both]));
    expect(operations[0]).toMatch(/dynamic_debug/);
  });

  it('lies in one folder with the modules that it is for', () => {
    for (const name of ['a-target.ko', 'notes.txt']) writeFileSync(join(folder, name), '');
    const made = join(folder, 'made');
    expect([...folderOf([fixture('klpdemo_patch_both')], folder, made)]).toEqual([
      'a_target',
      'klpdemo_patch_both',
    ]);
    expect(readdirSync(made)).toEqual(['a-target.ko', 'klpdemo_patch_both.ko']);
  });

  it.each([
    [['/nowhere/p.ko'], /\/nowhere\/p\.ko: ENOENT/],
    [['README.md'], /README\.md: not a \.ko file/],
    [[fixture('klpdemo_target')], /klpdemo_target\.ko: not a livepatch/],
  ])('%j is refused, with the file and why', (files, words) => {
    expect(() => readPatches(files, BUILT_IN)).toThrow(words);
  });

  it('is asked for alone, and files are given behind it only', () => {
    expect(() => read('--patches', 'a.ko', '--random', '3')).toThrow(/one of .*--patches/);
    expect(() => read('a.ko')).toThrow(/unexpected argument 'a\.ko'/);
  });
});
