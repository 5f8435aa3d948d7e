// What a livepatch keeps in trees of the kernel, and what it hands to call_rcu(), is in the account of what it leaves behind: on
// Debian's kernels, whose own code makes the nodes.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { Vet, type VetReport } from '../../src/vet/vet.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { builtModules } from '../vmlinuz/observed_modules.ts';

describe.each(['6.1', '6.12', '7.3'] as const)('on Debian %s a livepatch', (series) => {
  const kernel = vmlinuzOf(series);
  let made: ReturnType<typeof builtModules> = { why: `the image of Debian's ${series} is not here` };
  beforeAll(() => {
    if (kernel) made = builtModules(series, 'vet');
  });
  beforeEach((context) => {
    if ('why' in made) context.skip(made.why);
  });

  const vet = async (params: string): Promise<VetReport> => {
    const folder = 'folder' in made ? made.folder : '';
    const modules = new ModuleLibrary(X86_64.elf, folder);
    const options = {
      kernel: kernel as string,
      modules,
      olds: [],
      vmlinuxOnly: false,
      tell: () => {},
      params,
    };
    const path = join(folder, 'klpvet_keeps.ko');
    return (await Vet.of(X86_64, options)).vet({ path, bytes: new Uint8Array(readFileSync(path)) });
  };
  const bad = ({ findings }: VetReport): string =>
    findings
      .filter(({ weight }) => weight === 'bad')
      .map(({ text, lines = [] }) => [text, ...lines].join('\n'))
      .join('\n');

  it.each(['idr', 'xarray', 'maple', 'rcu'])('that gives back what it keeps (%s) is good', async (puts) => {
    const report = await vet(`puts=${puts}`);
    expect([bad(report), report.verdict]).toEqual(['', 'good']);
  });

  it.each([
    ['idr', /^heap: node of a tree that is gone 576 bytes: \d+ before, \d+ now$/m],
    ['xarray', /^heap: node of a tree that is gone 576 bytes: \d+ before, \d+ now$/m],
    ['maple', /^heap: mas_\w+ 256 bytes: \d+ before, \d+ now$/m],
    ['rcu', /^\d+ bytes that keep\+0x\w+\/0x\w+ \[klpvet_keeps\] took, and nobody has freed$/m],
  ])('that forgets it (%s) is told to leave it behind', async (puts, words) => {
    const report = await vet(`puts=${puts} forgets=1`);
    expect([bad(report), report.verdict]).toEqual([expect.stringMatching(words), 'not good']);
    expect(bad(report)).toContain('enable, disable, unload: it leaves something behind');
  });
});
