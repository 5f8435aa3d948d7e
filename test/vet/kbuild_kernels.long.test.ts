// The verdict on livepatches that kbuild has made with the headers of Debian's 6.12 and 7.3, and on one that klp-build has made
// for 7.3; and on mutants of them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { Vet, type VetOptions, type VetReport } from '../../src/vet/vet.ts';
import { fixturesFor } from '../vmlinuz/debian_fixtures.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { Mutant } from './mutant.ts';

const REAL = join(import.meta.dirname, '../../fixtures/split/real');

function sentences({ findings }: VetReport, weight: string): string[] {
  return findings
    .filter((finding) => finding.weight === weight)
    .map(({ about = '', text, lines = [] }) => [`${about}: ${text}`, ...lines].join('\n'));
}

const optionsOf = (kernel: string, folder: string): VetOptions => ({
  kernel,
  modules: new ModuleLibrary(X86_64.elf, folder),
  olds: [],
  vmlinuxOnly: false,
  tell: () => {},
});

describe.each(['6.12', '7.3'] as const)('a patch that kbuild has made for Debian %s', (series) => {
  const image = vmlinuzOf(series);
  let made: ReturnType<typeof fixturesFor> = { why: `the image of Debian's ${series} is not here` };
  let vetting: Vet;
  beforeAll(async () => {
    if (!image) return;
    made = fixturesFor(series);
    if ('folder' in made) vetting = await Vet.of(X86_64, optionsOf(image, made.folder));
  });
  beforeEach((context) => {
    if ('why' in made) context.skip(made.why);
  });
  const mutant = (name: string): Mutant =>
    new Mutant(new Uint8Array(readFileSync(join('folder' in made ? made.folder : '', `${name}.ko`))));
  const vet = async ({ bytes }: Mutant, params = ''): Promise<VetReport> => {
    const own = params === '' || !('folder' in made) ? vetting : await withParams(made.folder, params);
    return own.vet({ path: 'patch.ko', bytes });
  };
  const withParams = (folder: string, params: string): Promise<Vet> =>
    Vet.of(X86_64, { ...optionsOf(image as string, folder), params });

  it.for<readonly [of: string, name: string, tried: string, params?: string]>([
    ['a function of the kernel', 'klpdemo_patch_vmlinux', 'enable again'],
    ['functions of a module', 'klpdemo_patch_target', 'klpdemo_target goes and comes during its transition'],
    ['the second function of a name', 'klpdemo_patch_sympos', 'klpdemo_target comes after it'],
    ['both, with callbacks', 'klpdemo_patch_both', 'reversed in the middle of disabling', 'replace=1'],
  ])('is good where it is of %s', async ([, name, tried, params = '']) => {
    const report = await vet(mutant(name), params);
    expect([sentences(report, 'bad'), sentences(report, 'not seen'), report.verdict]).toEqual([
      [],
      [],
      'good',
    ]);
    expect(sentences(report, 'good')).toContain(`: ${tried}`);
  });

  it.each<[string, () => Mutant, RegExp]>([
    [
      'a function that it has not',
      () => mutant('klpdemo_patch_vmlinux').text('cmdline_proc_show', 'cmdline_proc_sho'),
      /symbol 'cmdline_proc_sho' not found in symbol table/,
    ],
    [
      'an __init function',
      () => mutant('klpdemo_patch_vmlinux').text('cmdline_proc_show', 'start_kernel'),
      /start_kernel: found once .*: __init, gone/,
    ],
    [
      'the main loop of a kernel thread',
      () => mutant('klpdemo_patch_target').text('klpdemo_round', 'klpdemo_main'),
      /klpdemo_main: is the main loop of a kernel thread/,
    ],
    [
      'ORC rows that are wrong',
      () => mutant('klpdemo_patch_vmlinux').orcStackOffsets(8),
      /a stack trace is wrong and called reliable/,
    ],
    [
      'a sympos behind the last',
      () => mutant('klpdemo_patch_sympos').dataWord('funcs', 16, 3n),
      /klpdemo_twin: sympos is 3, and klpdemo_target has 2/,
    ],
  ])('is not good with %s, and told why', async (_, make, words) => {
    const report = await vet(make());
    expect([sentences(report, 'bad').join('\n'), report.verdict]).toEqual([
      expect.stringMatching(words),
      'not good',
    ]);
  });
});

describe('a patch that klp-build has made for Debian 7.3', () => {
  const image = vmlinuzOf('7.3');

  it('is executed: its functions are found, and it comes and goes with its targets', async (context) => {
    if (!image) return context.skip("the image of Debian's 7.3 is not here");
    const vetting = await Vet.of(X86_64, optionsOf(image, REAL));
    const bytes = new Uint8Array(readFileSync(join(REAL, 'klpreal_build.ko')));
    const report = await vetting.vet({ path: 'klpreal_build.ko', bytes });
    // What its init has allocated stays where klp_enable_patch() fails: the kernel's own init of such patches does not free it.
    const leak = sentences(report, 'bad').join('\n');
    expect(leak).toMatch(
      /^: each allocation of enabling fails once: [^\n]*: it leaves something behind\nheap: klpreal_build/,
    );
    expect(sentences(report, 'bad').length).toBe(1);
    expect(sentences(report, 'not seen')).toEqual([
      ': replaced by a copy of itself: not tried: a copy with another name cannot be made of it',
    ]);
    const good = sentences(report, 'good').join('\n');
    for (const name of ['klpsplit_t1_a', 'klpsplit_t1_b', 'klpsplit_t2_a', 'klpsplit_t2_b'])
      expect(good).toContain(`${name}: found once in klpsplit_t`);
    for (const tried of [
      'enable, disable, unload',
      'enable again',
      'reversed in the middle of enabling',
      'reversed in the middle of disabling',
      'klpsplit_t1 goes and comes while it is enabled',
      'klpsplit_t2 comes after it',
    ])
      expect(good).toContain(`: ${tried}`);
  });
});
