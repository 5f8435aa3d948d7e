// Debian's gdb at the demo, in batch mode: forwards, through what is patched.

import { describe, expect, it } from 'vitest';
import { execute, learnPoints } from '../../src/explore/execution.ts';
import { fixture } from '../explore/explore.ts';
import { gdb, noGdb } from './gdb.ts';

describe.skipIf(noGdb)(`gdb at the demo${noGdb ? ` (${noGdb})` : ''}`, () => {
  it('steps into trampoline and handler, and out into the new function', () => {
    const [, site, , stepped, , handler, stack, , finished, , called, callers] = gdb('demo', '--at 3s', [
      'break *meminfo_proc_show',
      'continue',
      'delete',
      'stepi',
      'break klp_ftrace_handler',
      'continue',
      'bt',
      'delete 2',
      'finish',
      'break klpdemo_new_meminfo_proc_show',
      'continue',
      'bt 3',
    ]);
    expect(site).toMatch(/"meminfo-reader" hit Breakpoint 1, .* in meminfo_proc_show/);
    expect(stepped).toMatch(/in ftrace_trampoline/);
    expect(handler).toMatch(/"meminfo-reader" hit Breakpoint 2, .* in klp_ftrace_handler/);
    expect(stack).toMatch(
      /^#0 .* klp_ftrace_handler \(\)\n#1 .* ftrace_trampoline.*\n#2 .* meminfo_proc_show \(\)\n#3 .* seq_read_iter/m,
    );
    expect(finished).toMatch(/in ftrace_trampoline/);
    expect(called).toMatch(/hit Breakpoint 3, .* klpdemo_new_meminfo_proc_show/);
    expect(callers).toMatch(/^#0 .* klpdemo_new_meminfo_proc_show \(\).*\n#1 .* seq_read_iter/m);
  });

  it('shows a site with a breakpoint on it before and after it is rewritten', () => {
    const [, , before, , , int3, call, , , again, listing, after] = gdb('demo', '', [
      'hbreak *meminfo_proc_show',
      'continue',
      'x/5xb meminfo_proc_show',
      'watch *(unsigned char *)meminfo_proc_show',
      'disable 1',
      'continue',
      'continue',
      'enable 1',
      'disable 2',
      'continue',
      'x/2i $pc',
      'x/5xb $pc',
    ]);
    expect(before).toMatch(/:\s+0x0f\s+0x1f\s+0x44\s+0x00\s+0x00/);
    expect(int3).toMatch(/Old value = 15[\s\S]*New value = 204/);
    expect(call).toMatch(/Old value = 204[\s\S]*New value = 232/);
    expect(again).toMatch(/hit Breakpoint 1/);
    expect(listing).toMatch(/=> .*<meminfo_proc_show>:\s+call/);
    expect(after).toMatch(/:\s+0xe8/);
  });

  it('shows the worker in the function that keeps it from switching, and who has switched', () => {
    const [threads, , stack, why] = gdb('demo', '--at 1s', [
      'info threads',
      'thread 12',
      'bt',
      'monitor why',
    ]);
    expect(threads).toMatch(/"klpdemo_worker" \(sleeping, patch_state 0 \(unpatched\), TIF_PATCH_PENDING\)/);
    expect(threads).toMatch(/"init" \(sleeping, patch_state 1 \(patched\)\)/);
    expect(threads).toMatch(/"swapper\/2" \(CPU 2, halted/);
    expect(stack).toMatch(
      /^#0 .* __schedule \(\)\n#1 .* schedule \(\)\n#2 .* schedule_timeout \(\)\n#3 .* klpdemo_main \(\) from .*klpdemo_target.ko\n#4 .* kthread \(\)\n#5 .* ret_from_fork \(\)$/m,
    );
    expect(why).toContain('klpdemo_main');
  });

  it('shows the stack of the worker through the function that replaced the one it was in', () => {
    const at = '--at-dmesg "\'klpdemo_patch_both\': starting unpatching transition"';
    const [stacks] = gdb('demo', at, ['thread apply all -s bt']);
    const [, worker] = /"klpdemo_worker" .*\n([\s\S]*?)(?:\n\nThread|$)/.exec(stacks) ?? [];
    expect(worker).toMatch(
      /^#0 .* __schedule \(\)\n#1 .* schedule \(\)\n#2 .* schedule_timeout \(\)\n#3 .* msleep \(\)\n#4 .* klpdemo_wait \(\) from .*klpdemo_target.ko\n/,
    );
    expect(worker).toMatch(
      /\n#\d+ .* klpdemo_stage_\w+ \(\) from .*klpdemo_target.ko\n#\d+ .* klpdemo_new_round \(\) from .*klpdemo_patch_both.ko\n#\d+ .* klpdemo_main \(\) from .*klpdemo_target.ko\n#\d+ .* kthread \(\)\n#\d+ .* ret_from_fork \(\)$/m,
    );
  });

  it('notices modules that come: a breakpoint that waits for one is met in its first call', () => {
    const [, none, pending, met, stack, some] = gdb('demo', '', [
      'set breakpoint pending on',
      'info sharedlibrary',
      'break klpdemo_main',
      'continue',
      'bt',
      'info sharedlibrary klpdemo',
    ]);
    expect(none).toContain('No shared libraries');
    expect(pending).toContain('pending');
    expect(met).toMatch(/hit Breakpoint 1, .* in klpdemo_main/);
    expect(stack).toMatch(/^#0 .* klpdemo_main .*\n#1 .* kthread \(\)/m);
    expect(some).toMatch(/klpdemo_target\.ko/);
  });

  it('has vector registers by their names, as numbers of every kind', () => {
    const [, xmm, ymm, mxcsr] = gdb('demo', '--at 3s', [
      'set var $xmm3.v4_int32[1] = 7',
      'p $xmm3.v4_int32',
      'p $ymm3.v8_int32',
      'p $mxcsr',
    ]);
    expect(xmm).toMatch(/= \{0, 7, 0, 0\}/);
    expect(ymm).toMatch(/= \{0, 7, 0, 0, 0, 0, 0, 0\}/);
    expect(mxcsr).toMatch(/= \[ IM DM ZM OM UM PM \]/);
  });

  it('shows a task that is preempted in the handler, down to the call that it came by', async () => {
    // Where the reader first comes to a point of the handler it is preempted, and has no CPU for 2.5 s.
    const scenario = fixture('explore_gap');
    const { points } = await learnPoints(scenario);
    const { visits } = await execute(scenario, points, { base: 'q', decisions: [] });
    const met = visits.find(({ point }) => point.startsWith('klp_ftrace_handler+'));
    if (!met) throw new Error('nobody comes to the handler');
    const at = `--schedule q,p${met.cpu}@${met.at} --at-instruction ${met.at + 1500}`;
    const [threads, stack] = gdb('explore_gap', at, ['info threads', 'thread apply 5 bt']);
    expect(threads).toMatch(/5 +Thread \d+ "reader" \(runnable/);
    expect(stack).toMatch(/^#0 .* __schedule \(\)$/m);
    expect(stack).toMatch(
      / in preempt_schedule_(?:notrace|irq) \(\)\n[\s\S]*#\d+ .* in klp_ftrace_handler \(\)\n#\d+ .* in ftrace_trampoline.*\n#\d+ .* in cmdline_proc_show \(\)/,
    );
  });
});
