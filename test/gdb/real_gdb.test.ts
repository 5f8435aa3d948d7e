// Debian's gdb at the demo, in batch mode: what a kernel developer does first. More is in the long suite.

import { describe, expect, it } from 'vitest';
import { gdb, noGdb } from './gdb.ts';

/** From where the demo's patch is complete. */
const COMPLETE = `--at-dmesg "klpdemo_patch_both': patching complete"`;

describe.skipIf(noGdb)(`gdb at the demo${noGdb ? ` (${noGdb})` : ''}`, () => {
  it('goes back from where patching is complete to the instruction that wrote the int3', () => {
    const [dmesg, patched, , call, , int3, stack, site, threads] = gdb('demo', COMPLETE, [
      'monitor dmesg 40',
      'x/5xb meminfo_proc_show',
      'watch *(unsigned char *)meminfo_proc_show',
      'reverse-continue',
      'x/1xb meminfo_proc_show',
      'reverse-continue',
      'bt',
      'x/5xb meminfo_proc_show',
      'info threads',
    ]);
    expect(dmesg).toContain("'klpdemo_patch_both': patching complete");
    expect(patched).toMatch(/:\s+0xe8/);
    // The call's first byte comes last, over the int3.
    expect(call).toMatch(/hit Hardware watchpoint 1[\s\S]*Old value = 232[\s\S]*New value = 204/);
    expect(int3).toMatch(/Old value = 204[\s\S]*New value = 15/);
    expect(stack).toMatch(/^#0 .* in klp_enable_patch \(\)\n#1 .* in do_one_initcall \(\)/m);
    expect(stack).toMatch(/ in user:insmod \(\)$/m);
    expect(site).toMatch(/:\s+0x0f\s+0x1f\s+0x44\s+0x00\s+0x00/);
    expect(threads).toMatch(/\* \d+ +Thread \d+ "insmod" \(CPU \d, patch_state 0 \(unpatched\)\)/);
  });
});
