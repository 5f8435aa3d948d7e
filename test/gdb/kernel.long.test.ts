// Debian's gdb at a scenario with a real kernel under it: names, modules, trampolines, stacks, and the way back.

import { describe, expect, it } from 'vitest';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { gdb, noGdb } from './gdb.ts';

const image = vmlinuzOf('6.1');

describe.skipIf(noGdb)(`gdb at Debian's 6.1${noGdb ? ` (${noGdb})` : ''}`, () => {
  it('has its names and stacks, and goes back to who wrote a fentry site', (context) => {
    if (!image) return context.skip("the image of Debian's 6.1 is not here and could not be fetched");
    const at = `--kernel ${image} --at-dmesg "starting patching"`;
    const [stack, , met, through, modules, , , back, site] = gdb('explore_gap', at, [
      'bt',
      'break klp_ftrace_handler',
      'continue',
      'bt',
      'info sharedlibrary',
      'watch *(unsigned char *)cmdline_proc_show',
      'delete 1',
      'reverse-continue',
      'x/1xb cmdline_proc_show',
    ]);
    expect(stack).toMatch(/^#0 .* klp_enable_patch \(\)\n#1 .* do_one_initcall \(\)/m);
    expect(stack).toMatch(/ in user:insmod \(\)$/m);
    expect(met).toMatch(/"reader" hit Breakpoint 1, .* klp_ftrace_handler/);
    expect(through).toMatch(
      /\n#1 .* ftrace_trampoline.*\n#2 .* cmdline_proc_show \(\)\n#3 .* seq_read_iter \(\)/,
    );
    expect(modules).toMatch(/klpdemo_patch_vmlinux\.ko/);
    expect(back).toMatch(/"insmod" hit Hardware watchpoint 2[\s\S]*Old value = 232[\s\S]*New value = 204/);
    expect(site).toMatch(/:\s+0xcc/);
  });
});
