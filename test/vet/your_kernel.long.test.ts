// The verdict on livepatches for Debian's 6.1, 6.12 and 7.3, good ones and mutants.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { Vet, type VetReport } from '../../src/vet/vet.ts';
import { moduleFor } from '../machine/for_kernel.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { MODULES, Mutant } from './mutant.ts';

const kernel = vmlinuzOf('6.1');
const modules = new ModuleLibrary(X86_64.elf, MODULES);

/** The template, for another function of the kernel. */
const patchOf = (name: string): Mutant =>
  new Mutant('klpdemo_patch_vmlinux').string('.rodata.str1.1', 'cmdline_proc_show', name);

const sentences = ({ findings }: VetReport, weight: string): string[] =>
  findings
    .filter((finding) => finding.weight === weight)
    .map(({ about = '', text, lines = [] }) => [`${about}: ${text}`, ...lines].join('\n'));

describe.skipIf(!kernel)('on Debian 6.1', () => {
  let vetting: Vet;
  beforeAll(async () => {
    const options = { kernel: kernel as string, modules, olds: [], vmlinuxOnly: false, tell: () => {} };
    vetting = await Vet.of(X86_64, options);
  });
  const vet = (bytes: Uint8Array): Promise<VetReport> => vetting.vet({ path: 'patch.ko', bytes });
  const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(join(MODULES, `${name}.ko`)));

  it.each(['klpdemo_patch_vmlinux', 'klpdemo_patch_target', 'klpdemo_patch_sympos'])(
    '%s is good',
    async (name) => {
      const report = await vet(fixture(name));
      expect([sentences(report, 'bad'), sentences(report, 'not seen'), report.verdict]).toEqual([
        [],
        [],
        'good',
      ]);
    },
  );

  it.each([
    ['do_sys_poll', /^do_sys_poll: can sleep/, /do_sys_poll > schedule_hrtimeout_range > .* > schedule$/],
    ['do_nanosleep', /^do_nanosleep: can sleep \(interruptible/, /do_nanosleep > schedule$/],
    ['ksys_read', /^ksys_read: can sleep \(uninterruptible/, /mutex_lock > .* > schedule_preempt_disabled$/],
  ])('%s is told to sleep, and by which way', async (name, words, way) => {
    const report = await vet(patchOf(name).bytes);
    const told = sentences(report, 'told').filter((one) => one.startsWith(`${name}:`));
    expect([told[0], report.verdict]).toEqual([expect.stringMatching(words), 'good']);
    expect(told[0]).toMatch(way);
  });

  it.each([
    ['kswapd', 'kswapd_run'],
    ['khugepaged', 'start_stop_khugepaged'],
    ['kauditd_thread', 'audit_init'],
    ['rcu_gp_kthread', 'rcu_spawn_gp_kthread'],
    ['worker_thread', 'create_worker'],
    ['kthreadd', 'rest_init'],
  ])('%s is the main loop of threads that %s makes', async (name, maker) => {
    const report = await vet(patchOf(name).bytes);
    expect(report.verdict).toBe('not good');
    expect(sentences(report, 'bad')[0]).toContain(
      `${name}: is the main loop of a kernel thread that ${maker} makes`,
    );
  });

  it.each<[string, () => Mutant, RegExp]>([
    [
      'a checksum of another kernel',
      () => new Mutant('klpdemo_patch_vmlinux').crc('seq_printf'),
      /failed with EINVAL\nklpdemo_patch_vmlinux: disagrees about version of symbol seq_printf/,
    ],
    [
      'a function that it has not',
      () => patchOf('cmdline_proc_sho'),
      /failed with \w+\n[\s\S]*symbol 'cmdline_proc_sho' not found in symbol table/,
    ],
    [
      'a function without fentry site',
      () => patchOf('__switch_to'),
      /__switch_to: found once .*: no fentry site/,
    ],
    ['a function of its init', () => patchOf('start_kernel'), /start_kernel: found once .*: __init, gone/],
    [
      'one of several of that name',
      () => patchOf('m_show'),
      /m_show: \d functions of vmlinux have that name, and no sympos/,
    ],
    [
      'an addend by which a call goes into the middle of a function',
      () => new Mutant('klpdemo_patch_vmlinux').addend('klpdemo_new_cmdline_proc_show', 'seq_printf', 4n),
      /klpdemo_new_cmdline_proc_show\+0x\w+\/0x\w+ \[klpdemo_patch_vmlinux\] goes to seq_printf\+0x4\//,
    ],
  ])('a mutant with %s is not good, and told why', async (_, make, words) => {
    const report = await vet(make().bytes);
    expect([sentences(report, 'bad').join('\n'), report.verdict]).toEqual([
      expect.stringMatching(words),
      'not good',
    ]);
  });
});

const LATER = { '6.12': vmlinuzOf('6.12'), '7.3': vmlinuzOf('7.3') };

describe.each(['6.12', '7.3'] as const)('on Debian %s', (series) => {
  const file = LATER[series];
  const made = ['klpdemo_patch_vmlinux', 'klpdemo_patch_target', 'klpdemo_target'] as const;
  let dir: string;
  let vetting: Vet;
  let vmlinuxOnly: Vet;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'klpemu-vet-'));
    if (!file) return;
    const opened = openKernel(file, X86_64);
    for (const name of made) {
      const bytes = new Uint8Array(readFileSync(join(MODULES, `${name}.ko`)));
      writeFileSync(join(dir, `${name}.ko`), moduleFor(bytes, opened));
    }
    const options = { kernel: file, olds: [], vmlinuxOnly: false, tell: () => {} };
    const own = new ModuleLibrary(X86_64.elf, dir);
    vetting = await Vet.of(X86_64, { ...options, modules: own });
    const none = new ModuleLibrary(X86_64.elf, undefined);
    vmlinuxOnly = await Vet.of(X86_64, { ...options, modules: none, vmlinuxOnly: true });
  });
  beforeEach((context) => {
    if (!file) context.skip(`the image of Debian's ${series} is not here and could not be fetched`);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const mutant = (name: (typeof made)[number]): Mutant =>
    new Mutant(new Uint8Array(readFileSync(join(dir, `${name}.ko`))));
  const vet = (made: Mutant, by = vetting): Promise<VetReport> =>
    by.vet({ path: 'patch.ko', bytes: made.bytes });

  // 7.3 has the stack protector's word elsewhere: a module of 6.1 that looks for it is none of 7.3.
  it.each(made.slice(0, series === '7.3' ? 1 : 2))('%s is good', async (name) => {
    const report = await vet(mutant(name));
    expect([sentences(report, 'bad'), sentences(report, 'not seen'), report.verdict]).toEqual([
      [],
      [],
      'good',
    ]);
  });

  it('a patch of a module is told to be loadable without it, where modules are left out', async () => {
    const report = await vet(mutant('klpdemo_patch_target'), vmlinuxOnly);
    expect([sentences(report, 'bad'), report.verdict]).toEqual([[], 'good']);
    expect(sentences(report, 'told')).toContain(': klpdemo_target is left out, as was asked: 5 functions');
  });

  it.each([
    ['kswapd', 'kswapd_run'],
    ['khugepaged', 'start_stop_khugepaged'],
    ['kthreadd', 'rest_init'],
  ])('%s is the main loop of threads that %s makes', async (name, maker) => {
    const report = await vet(
      mutant('klpdemo_patch_vmlinux').string('.rodata.str1.1', 'cmdline_proc_show', name),
    );
    expect(report.verdict).toBe('not good');
    expect(sentences(report, 'bad')[0]).toContain(
      `${name}: is the main loop of a kernel thread that ${maker} makes`,
    );
  });

  it('a mutant with an addend by which a call goes into the middle of a function is not good', async () => {
    const report = await vet(
      mutant('klpdemo_patch_vmlinux').addend('klpdemo_new_cmdline_proc_show', 'seq_printf', 4n),
    );
    expect([sentences(report, 'bad').join('\n'), report.verdict]).toEqual([
      expect.stringMatching(/\[klpdemo_patch_vmlinux\] goes to seq_printf\+0x4\//),
      'not good',
    ]);
  });
});
