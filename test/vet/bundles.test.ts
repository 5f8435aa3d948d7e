// The verdict on bundles, whose members are judged as the bundle loads them, and on several livepatches together.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { Vet, type VetInput } from '../../src/vet/vet.ts';
import { MODULES } from './mutant.ts';
import { FIXTURES, splitOf, told } from './splits.ts';

const vetOf = (folder: string, params = ''): Promise<Vet> => {
  const modules = new ModuleLibrary(X86_64.elf, folder);
  return Vet.of(X86_64, { kernel: '', modules, params, olds: [], vmlinuxOnly: false, tell: () => {} });
};

const input = (name: string): VetInput => ({
  path: `${name}.ko`,
  bytes: new Uint8Array(readFileSync(join(MODULES, `${name}.ko`))),
});

describe('a bundle', () => {
  it('is judged member by member, and comes and goes as one', async () => {
    const vet = await vetOf(FIXTURES);
    const report = await vet.vet(splitOf('state').bundle);
    expect([told(report, 'bad'), told(report, 'not seen'), report.verdict]).toEqual([[], [], 'good']);
    expect(told(report, 'good', 'patchable').map((one) => one.split(',')[0])).toEqual([
      'klpsplit_t1_a: found once in klpsplit_t1',
      'klpsplit_t1_b: found once in klpsplit_t1',
      'cmdline_proc_show: found once in vmlinux',
      'klpsplit_t2_a: found once in klpsplit_t2',
      'klpsplit_t2_b: found once in klpsplit_t2',
    ]);
    expect(told(report, 'good', 'unwinder').map((one) => one.split(':')[0])).toEqual([
      'state_klpsplit_t1',
      'state_vmlinux',
      'state_klpsplit_t2',
    ]);
    expect(told(report, 'good', 'comes and goes')).toEqual(
      expect.arrayContaining([
        'klpsplit_t1 comes after it',
        'klpsplit_t2 cannot go during its transition',
        'klpsplit_t2 comes when its transition is over',
        'replaced by a copy of itself',
        expect.stringMatching(
          /^each allocation of enabling fails once: [3-9]\d, and nothing is left behind$/,
        ),
      ]),
    );
  });

  it('is what a member needs whose shared state is in another one', async () => {
    const vet = await vetOf(FIXTURES);
    const { members } = splitOf('state');
    const alone = await vet.vet(members.find(({ path }) => path.includes('_t1')) as VetInput);
    expect(told(alone, 'bad', 'loads').join()).toMatch(
      /failed with ENOENT\n[\s\S]*Unknown symbol state\.\w+ \(err -2\)/,
    );
  });

  it('of which a module is not there is not called good', async () => {
    const vet = await vetOf(MODULES);
    const report = await vet.vet(splitOf('o2').bundle);
    expect(report.verdict).toBe('not all seen');
    expect(told(report, 'not seen', 'stall')).toEqual([
      'o2_klpsplit_t1: its own functions are not looked at: they never were in memory',
      'o2_klpsplit_t2: its own functions are not looked at: they never were in memory',
    ]);
  });

  it('that is damaged is an error', async () => {
    const vet = await vetOf(FIXTURES);
    const bytes = splitOf('o2').bundle.bytes.slice();
    bytes[bytes.lastIndexOf(0x7f) + 900] ^= 1;
    await expect(vet.vet({ path: 'o2.klpb', bytes })).rejects.toThrow(/^o2\.klpb: member .* whose SHA-256/);
  });
});

describe('several livepatches together', () => {
  it('are told whose function runs, and are gone through in each order', async () => {
    const vet = await vetOf(MODULES);
    const report = await vet.together([input('klpdemo_patch_vmlinux'), input('klpdemo_state_a')]);
    expect([told(report, 'bad'), told(report, 'not seen'), report.verdict]).toEqual([[], [], 'good']);
    expect(told(report, 'told', 'patchable')).toEqual([
      expect.stringMatching(
        /^cmdline_proc_show: several of them have it: while all are enabled klpdemo_new_\S+ \[klpdemo_state_a\] runs, over klpdemo_new_\S+ \[klpdemo_patch_vmlinux\]$/,
      ),
    ]);
    expect(told(report, 'good', 'comes and goes')).toEqual([
      'enabled in the order given, disabled in the reverse one',
      'enabled in the order given, disabled in the same',
      'enabled in the order given, the first of them goes and comes again',
    ]);
  });

  it('are told which of them another one replaces', async () => {
    const vet = await vetOf(MODULES, 'replace=1');
    const report = await vet.together([input('klpdemo_patch_vmlinux'), input('klpdemo_state_a')]);
    expect([told(report, 'bad'), report.verdict]).toEqual([[], 'good']);
    expect(told(report, 'good', 'comes and goes')[0]).toBe(
      'enabled in the order given, disabled in the reverse one: klpdemo_patch_vmlinux is replaced on the way',
    );
  });

  it('of which one frees what another has are not good, though each alone is', async () => {
    const vet = await vetOf(MODULES, 'version1=1');
    const report = await vet.together([input('klpdemo_state_a'), input('klpdemo_state_b')]);
    expect(report.verdict).toBe('not good');
    expect(told(report, 'bad', 'comes and goes').join()).toMatch(
      /^enabled in the order given, disabled in the same: disabling klpdemo_state_b: [\s\S]*RIP: 0010:kfree/,
    );
  });
});
