// The verdict on livepatches that are good, and on mutants of them that each do one thing wrong.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { Finding, Part } from '../../src/vet/finding.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { readPatch } from '../../src/vet/patch_file.ts';
import { Vet, type VetOptions, type VetReport } from '../../src/vet/vet.ts';
import { MODULES, Mutant } from './mutant.ts';
import { MUTANTS } from './mutants.ts';

const library = new ModuleLibrary(X86_64.elf, MODULES);
const OPTIONS: VetOptions = { kernel: '', modules: library, olds: [], vmlinuxOnly: false, tell: () => {} };

async function vet(bytes: Uint8Array, options: Partial<VetOptions> = {}): Promise<VetReport> {
  const vetting = await Vet.of(X86_64, { ...OPTIONS, ...options });
  return vetting.vet({ path: 'patch.ko', bytes });
}

const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(join(MODULES, `${name}.ko`)));

/** Sentences of a weight, with what is below them. */
function told({ findings }: VetReport, weight: Finding['weight'], part?: Part): string[] {
  return findings
    .filter((finding) => finding.weight === weight && (part === undefined || finding.part === part))
    .map(({ about, text, lines = [] }) =>
      [`${about === undefined ? '' : `${about}: `}${text}`, ...lines].join('\n'),
    );
}

describe('a good livepatch', () => {
  it('of the kernel is told to be good, with each thing that was done', async () => {
    const report = await vet(fixture('klpdemo_patch_vmlinux'));
    expect([told(report, 'bad'), told(report, 'not seen'), report.verdict]).toEqual([[], [], 'good']);
    expect(told(report, 'good', 'comes and goes')).toEqual([
      'enable, disable, unload',
      'enable again',
      'reversed in the middle of enabling',
      'reversed in the middle of disabling',
      'replaced by a copy of itself',
      'each allocation of enabling fails once: 14, and nothing is left behind',
    ]);
    expect(told(report, 'good', 'patchable')[0]).toMatch(
      /^cmdline_proc_show: found once in vmlinux, at ffffffff810\w+, \d+ bytes, fentry site at its start$/,
    );
  });

  it('of a module is tried with that module before, during and after, and is told where it can sleep', async () => {
    const report = await vet(fixture('klpdemo_patch_sympos'));
    expect([told(report, 'bad'), told(report, 'not seen'), report.verdict]).toEqual([[], [], 'good']);
    expect(told(report, 'good', 'comes and goes')).toEqual(
      expect.arrayContaining([
        'klpdemo_target goes and comes while it is enabled',
        'klpdemo_target comes after it',
        'klpdemo_target goes and comes during its transition',
        expect.stringMatching(
          /^each allocation of loading klpdemo_target under it fails once: \d+, and nothing/,
        ),
      ]),
    );
    expect(told(report, 'good', 'patchable')[0]).toMatch(
      /^klpdemo_twin: number 2 of 2 in klpdemo_target, at /,
    );
  });

  it('that comes after others is tried on top of them', async () => {
    const olds = [{ path: 'old.ko', bytes: fixture('klpdemo_patch_vmlinux') }];
    const report = await vet(fixture('klpdemo_state_a'), { olds, params: 'replace=1 version1=1' });
    expect(told(report, 'bad')).toEqual([]);
    expect(told(report, 'good', 'comes and goes')).toContain(
      'on top of what it comes after: the old ones are replaced',
    );
  });

  it('is not called good where a module that it is for was not looked at', async () => {
    const modules = new ModuleLibrary(X86_64.elf, undefined);
    const report = await vet(fixture('klpdemo_patch_sympos'), { modules });
    expect(report.verdict).toBe('not all seen');
    expect(told(report, 'not seen', 'loads')).toEqual([
      'klpdemo_target, which it is for, is not looked at: no --modules says where',
    ]);
  });

  it('may be asked for what it does to the kernel alone', async () => {
    const modules = new ModuleLibrary(X86_64.elf, undefined);
    const report = await vet(fixture('klpdemo_patch_sympos'), { modules, vmlinuxOnly: true });
    expect([told(report, 'bad'), report.verdict]).toEqual([[], 'good']);
    expect(told(report, 'told', 'loads')).toEqual(['klpdemo_target is left out, as was asked: 1 functions']);
  });
});

describe('the file of a livepatch', () => {
  it('tells new functions by their names where the compiler has left room before each', () => {
    const path = join(MODULES, '../split/real/klpreal_build.ko');
    const { objects } = readPatch(path, new Uint8Array(readFileSync(path)), X86_64, BUILT_IN);
    expect(objects.map(({ module, functions }) => [module, functions.map((one) => one.newName)])).toEqual([
      ['klpsplit_t1', ['klpsplit_t1_a', 'klpsplit_t1_b']],
      ['klpsplit_t2', ['klpsplit_t2_a', 'klpsplit_t2_b']],
    ]);
  });
});

describe('a mutant', () => {
  it.each(MUTANTS)('with $what is not good, and told why', async ({ make, part, words, params }) => {
    const mutant = make((name) => new Mutant(name));
    const report = await vet(mutant.bytes, params === undefined ? {} : { params });
    expect([told(report, 'bad', part).join('\n'), report.verdict]).toEqual([
      expect.stringMatching(words),
      'not good',
    ]);
  });
});
