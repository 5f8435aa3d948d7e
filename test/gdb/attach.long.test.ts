// Debian's gdb at a machine of `klpemu up`, while others have it execute commands.

import { execSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, gdbAt, KLPEMU, noGdb } from './gdb.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAME = 'debugged';
const run = (words: string): string => execSync(`${KLPEMU} ${words}`, { cwd: ROOT, encoding: 'utf8' });

describe.skipIf(noGdb)(`gdb at a machine that is up${noGdb ? ` (${noGdb})` : ''}`, () => {
  const { XDG_RUNTIME_DIR } = process.env;
  const dir = mkdtempSync(join(tmpdir(), 'attach-'));
  beforeAll(() => {
    process.env.XDG_RUNTIME_DIR = dir;
    build();
    run(`up --name ${NAME}`);
  });
  afterAll(() => {
    run(`down --name ${NAME}`);
    if (XDG_RUNTIME_DIR === undefined) delete process.env.XDG_RUNTIME_DIR;
    else process.env.XDG_RUNTIME_DIR = XDG_RUNTIME_DIR;
    rmSync(dir, { recursive: true });
  });

  it('stops in commands of others, goes back in what they did, and leaves them to go on', () => {
    const load = `exec --name ${NAME} 'modprobe klpdemo_patch_vmlinux; sleep 2; cat /proc/cmdline' > ${dir}/out 2>&1 < /dev/null`;
    const [threads, , , , int3, stack, call, reached, , back, site, , who] = gdbAt(
      `--attach ${NAME}`,
      [
        'info threads',
        'break klp_ftrace_handler',
        'watch *(unsigned char *)cmdline_proc_show',
        `shell ${KLPEMU} ${load} &`,
        'continue',
        'bt 2',
        'continue',
        'continue',
        'disable 1',
        'reverse-continue',
        'x/1xb cmdline_proc_show',
        'continue',
        'monitor back call klp_enable_patch',
      ],
      [],
      'detach',
    );
    expect(threads).toMatch(/"init" \(sleeping, patch_state -1/);
    expect(int3).toMatch(/"modprobe" hit Hardware watchpoint 2[\s\S]*Old value = 15[\s\S]*New value = 204/);
    expect(stack).toMatch(/^#0 .* klp_enable_patch \(\)\n#1 .* do_one_initcall/m);
    expect(call).toMatch(/Old value = 204[\s\S]*New value = 232/);
    expect(reached).toMatch(/"cat" hit Breakpoint 1, .* klp_ftrace_handler/);
    expect(back).toMatch(/Old value = 232[\s\S]*New value = 204/);
    expect(site).toMatch(/:\s+0xcc/);
    expect(who).toMatch(/call of klp_enable_patch[\s\S]*there: monitor goto instruction/);
    // It goes on from where it was, and the command comes to its end.
    expect(run(`exec --name ${NAME} -- cat /sys/kernel/livepatch/klpdemo_patch_vmlinux/transition`)).toBe(
      '0\n',
    );
    expect(execSync(`cat ${dir}/out`, { encoding: 'utf8' })).toContain('livepatched');
  });

  it('is alone at it, and may go without a word', () => {
    const other = `${KLPEMU} gdb --stdio --attach ${NAME} < /dev/null`;
    const [refused] = gdbAt(`--attach ${NAME}`, [`shell ${other} 2>&1`], [], 'shell kill -9 $PPID');
    expect(refused).toContain('cannot be debugged: a debugger is at it already');
  });
});
