// Mutants of good livepatches, each with one fault: what a build, a tool or a hand does wrong. They are made of the fixtures as
// they are built for any kernel.

import type { Part } from '../../src/vet/finding.ts';
import type { Mutant } from './mutant.ts';

/** What is wrong with a mutant, where it is seen, and in which words. */
export const MUTANTS: readonly {
  readonly what: string;
  /** @param of makes a copy of a fixture, built for the kernel */
  readonly make: (of: (fixture: string) => Mutant) => Mutant;
  readonly part: Part;
  readonly words: RegExp;
  readonly params?: string;
}[] = [
  {
    what: 'a relocation of a type that there is not',
    make: (of) =>
      of('klpdemo_patch_vmlinux').relocationType('klpdemo_new_cmdline_proc_show', 'seq_printf', 99),
    part: 'loads',
    words: /loading it failed with ENOEXEC\n.*Unknown rela relocation: 99/,
  },
  {
    what: 'an addend by which a call goes into the middle of a function',
    make: (of) => of('klpdemo_patch_vmlinux').addend('klpdemo_new_cmdline_proc_show', 'seq_printf', 4n),
    part: 'unwinder',
    words:
      /1 of its branches lead to where no function begins\nklpdemo_new_cmdline_proc_show\+0x\w+\/0x\w+ \[klpdemo_patch_vmlinux\] goes to seq_printf\+0x4\//,
  },
  {
    what: 'a callee that no kernel has',
    make: (of) => of('klpdemo_patch_vmlinux').importName('seq_printf', 'seq_primtf'),
    part: 'loads',
    words: /loading it failed with ENOENT\nklpdemo_patch_vmlinux: Unknown symbol seq_primtf \(err -2\)/,
  },
  {
    what: 'a sympos behind the last',
    make: (of) => {
      const mutant = of('klpdemo_patch_sympos');
      return mutant.u64(mutant.offsetOf('funcs') + 16, 3n);
    },
    part: 'patchable',
    words: /klpdemo_twin: sympos is 3, and klpdemo_target has 2\n1: ffffffffc0\w+, \d+ bytes\n2: /,
  },
  {
    what: 'another object than the one that has its function',
    make: (of) => of('klpdemo_patch_sympos').text('klpdemo_target', 'klpdemo_cold'),
    part: 'patchable',
    words: /klpdemo_twin: klpdemo_cold has no function of that name/,
  },
  {
    what: 'a checksum of another kernel',
    make: (of) => of('klpdemo_patch_vmlinux').crc('module_layout'),
    part: 'loads',
    words:
      /loading it failed with ENOEXEC\nklpdemo_patch_vmlinux: disagrees about version of symbol module_layout/,
  },
  {
    what: 'a function without fentry site',
    make: (of) => of('klpdemo_patch_vmlinux').text('cmdline_proc_show', '__schedule'),
    part: 'patchable',
    words: /__schedule: found once in vmlinux, at ffffffff8\w+, \d+ bytes: no fentry site/,
  },
  {
    what: 'a new function whose ORC rows are wrong',
    make: (of) => of('klpdemo_patch_vmlinux').orcStackOffsets(8),
    part: 'unwinder',
    words:
      /at \d+ of \d+ instructions in \d functions a stack trace is wrong and called reliable\n(__pfx_)?klpdemo_new_/,
  },
  {
    what: 'a callback that fails',
    make: (of) => of('klpdemo_patch_both'),
    params: 'pre_patch_ret=-19',
    part: 'loads',
    words: /loading it failed with ENODEV\n[\s\S]*pre-patch callback failed for object 'vmlinux'/,
  },
  {
    what: 'a callback that leaks',
    make: (of) => of('klpdemo_state_a').withoutCall('post_unpatch', 'kfree'),
    params: 'version1=1',
    part: 'comes and goes',
    words:
      /it leaves something behind\n8 bytes that pre_patch\+0x\w+\/0x\w+ \[klpdemo_state_a\] took, and nobody has freed/,
  },
  {
    what: 'the main loop of a kernel thread',
    make: (of) => of('klpdemo_patch_target').text('klpdemo_round', 'klpdemo_main'),
    part: 'stall',
    words: /klpdemo_main: is the main loop of a kernel thread that \w+ makes: such a thread never leaves it/,
  },
];
