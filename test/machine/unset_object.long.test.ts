// A native function that runs into what nobody has set up: the oops is the kernel's, a line behind it names the object, and
// the machine goes on. And one that never ends: who waits for it gives it up, and is told where it stands.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { Shell } from '../../src/shell/shell.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const kernel = vmlinuzOf('6.1');
const PATCH = join(import.meta.dirname, '../../fixtures/modules/klpdemo_patch_vmlinux.ko');
const CALLEE = 'seq_printf';

/** The fixture, whose function calls another function of the kernel; its name is not longer. */
function calling(name: string): Uint8Array {
  const bytes = readFileSync(PATCH);
  for (let at = bytes.indexOf(`${CALLEE}\0`); at >= 0; at = bytes.indexOf(`${CALLEE}\0`, at + 1)) {
    bytes.write(name.padEnd(CALLEE.length, '\0'), at, 'latin1');
    // In __versions its checksum stands before it.
    const crcOf = (wanted: string): number =>
      openKernel(kernel as string, X86_64).native.exports.find(wanted)?.crc ?? 0;
    if (bytes.readUInt32LE(at - 8) === crcOf(CALLEE)) bytes.writeUInt32LE(crcOf(name), at - 8);
  }
  return new Uint8Array(bytes);
}

async function oopsOf(name: string): Promise<{ readonly log: readonly string[]; readonly after: number }> {
  const machine = await Machine.boot({ kernel: kernel as string });
  const run = (task: ReturnType<typeof machine.spawn>): number => {
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 60e9);
    return machine.exitStatus(task) ?? -1;
  };
  machine.addFile('/lib/modules/x.ko', calling(name));
  expect(run(machine.insmod('/lib/modules/x.ko'))).toBe(0);
  machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, 60e9);
  const before = machine.dmesg().length;
  run(machine.spawn('cat', ['/proc/cmdline']));
  const log = machine.dmesg().slice(before);
  const after = run(machine.spawn('cat', ['/proc/version']));
  machine.close();
  return { log, after };
}

describe.skipIf(!kernel)('a native function of Debian 6.1 that runs into what was never set up', () => {
  it.each([
    ['erst_clear', 'erst_clear', 'erst_tab'],
    ['evtchn_put', 'evtchn_to_info', 'evtchn_ops'],
  ])('%s: the oops of %s is followed by %s, and the machine goes on', async (name, where, object) => {
    const { log, after } = await oopsOf(name);
    const text = log.map((line) => line.replace(/^\[[^\]]*\] /, ''));
    const line = text.findIndex((one) => one.startsWith('klpemu: '));
    expect(text[line]).toMatch(
      new RegExp(`^klpemu: ${where}\\+0x\\w+/0x\\w+ goes by ${object}: this machine does not set that up$`),
    );
    expect(text.slice(0, line)).toContainEqual(
      expect.stringMatching(/^BUG: .*(NULL pointer dereference|page fault)/),
    );
    expect(text[line - 1]).toMatch(/^CR2: /);
    expect(after).toBe(0);
  });

  it('vfs_fsync: it is not told of an argument that a module has got wrong', async () => {
    const { log, after } = await oopsOf('vfs_fsync');
    expect(log.join('\n')).toMatch(/RIP: 0010:vfs_fsync/);
    expect(log.join('\n')).not.toContain('klpemu: ');
    expect(after).toBe(0);
  });
});

describe.skipIf(!kernel)('a native function of Debian 6.1 that never ends', () => {
  it('is given up, told with its stack, and nothing else stands still', async () => {
    const machine = await Machine.boot({ kernel: kernel as string });
    const shell = new Shell(machine, { instructionLimit: 3_000_000 });
    // Its argument is how often it counts: here a pointer.
    machine.addFile('/x.ko', calling('__delay'));
    expect((await shell.execute('insmod /x.ko; sleep 2')).stderr).toBe('');
    const { status, stderr } = await shell.execute('cat /proc/cmdline');
    expect(status).toBe(124);
    expect(stderr).toMatch(/^cat: has not ended after 3,000,000 instructions/);
    expect(stderr).toMatch(/pid \d+ goes on in the kernel, where no signal reaches it; it stood in/);
    expect(stderr).toMatch(/delay_loop\+0x\w+\/0x\w+\n.*(?:\n.*)?\bseq_read_iter\+/s);
    expect(await shell.execute('cat /proc/version')).toMatchObject({ status: 0, stderr: '' });
    machine.runFor(60e9);
    expect(machine.dmesg().join('\n')).not.toMatch(/BUG:|Oops/);
    expect(await shell.execute('grep -c State /proc/1/status')).toMatchObject({ stdout: '1\n' });
    machine.close();
  });
});
