// The verdict on every mutant of mutants.ts, on several livepatches together, and with modules left out: on Debian's 6.1, 6.12 and
// 7.3, of fixtures that kbuild has made with the headers of each.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { Vet, type VetInput, type VetOptions } from '../../src/vet/vet.ts';
import { fixturesFor } from '../vmlinuz/debian_fixtures.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { Mutant } from './mutant.ts';
import { MUTANTS } from './mutants.ts';
import { told } from './splits.ts';

const OF_ANOTHER_RELEASE: (typeof MUTANTS)[number] = {
  what: 'the vermagic of another release',
  make: (of) => {
    const vermagic = (release: string) => `vermagic=${release}+deb13-amd64 SMP preempt mod_unload `;
    return of('klpdemo_patch_vmlinux').string('.modinfo', vermagic('7.3.4'), vermagic('7.3.3'));
  },
  part: 'loads',
  words:
    /loading it failed with ENOEXEC\nklpdemo_patch_vmlinux: version magic '7\.3\.3\S* [^']*' should be '7\.3\.4/,
};

describe.each(['6.1', '6.12', '7.3'] as const)('on Debian %s', (series) => {
  const kernel = vmlinuzOf(series);
  let made: ReturnType<typeof fixturesFor> = { why: `the image of Debian's ${series} is not here` };
  let plain: Vet;
  beforeAll(async () => {
    if (kernel) made = fixturesFor(series);
    if ('folder' in made) plain = await vetOf({});
  });
  beforeEach((context) => {
    if ('why' in made) context.skip(made.why);
  });

  const folder = (): string => ('folder' in made ? made.folder : '');
  const vetOf = (options: Partial<VetOptions>): Promise<Vet> => {
    const modules = new ModuleLibrary(X86_64.elf, folder());
    const base = { kernel: kernel as string, modules, olds: [], vmlinuxOnly: false, tell: () => {} };
    return Vet.of(X86_64, { ...base, ...options });
  };
  const input = (name: string): VetInput => ({
    path: `${name}.ko`,
    bytes: new Uint8Array(readFileSync(join(folder(), `${name}.ko`))),
  });

  // 7.3 of Debian is built without CONFIG_MODVERSIONS: what its modules have of another kernel is the release.
  const own = MUTANTS.map((one) =>
    series === '7.3' && one.what === 'a checksum of another kernel' ? OF_ANOTHER_RELEASE : one,
  );
  it.each(own)('a mutant with $what is not good, and told why', async ({ make, part, words, params }) => {
    const { bytes } = make((name) => new Mutant(input(name).bytes));
    const vetting = params === undefined ? plain : await vetOf({ params });
    const report = await vetting.vet({ path: 'patch.ko', bytes });
    expect([told(report, 'bad', part).join('\n'), report.verdict]).toEqual([
      expect.stringMatching(words),
      'not good',
    ]);
  });

  it('two livepatches of one function are told which of them runs, and are gone through in each order', async () => {
    const report = await plain.together([input('klpdemo_patch_vmlinux'), input('klpdemo_state_a')]);
    expect([told(report, 'bad'), told(report, 'not seen'), report.verdict]).toEqual([[], [], 'good']);
    expect(told(report, 'told', 'patchable')[0]).toMatch(
      /^cmdline_proc_show: several of them have it: while all are enabled \S+ \[klpdemo_state_a\] runs, over \S+ \[klpdemo_patch_vmlinux\]$/,
    );
    expect(told(report, 'good', 'comes and goes').length).toBe(3);
  });

  it('a livepatch of which one frees what another has is not good beside that one', async () => {
    const vetting = await vetOf({ params: 'version1=1' });
    const report = await vetting.together([input('klpdemo_state_a'), input('klpdemo_state_b')]);
    expect([told(report, 'bad', 'comes and goes').join(), report.verdict]).toEqual([
      expect.stringMatching(/^enabled in the order given, disabled in the same: /),
      'not good',
    ]);
  });

  it('a livepatch of a module is judged without it where modules are left out, and not called good otherwise', async () => {
    const modules = new ModuleLibrary(X86_64.elf, undefined);
    const patch = input('klpdemo_patch_sympos');
    const asked = await (await vetOf({ modules, vmlinuxOnly: true })).vet(patch);
    expect([told(asked, 'bad'), asked.verdict]).toEqual([[], 'good']);
    expect(told(asked, 'told', 'loads')).toEqual(['klpdemo_target is left out, as was asked: 1 functions']);
    const missing = await (await vetOf({ modules })).vet(patch);
    expect([told(missing, 'bad'), missing.verdict]).toEqual([[], 'not all seen']);
  });
});
