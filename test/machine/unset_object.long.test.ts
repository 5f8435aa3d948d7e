// A native function that runs into what nobody has set up: the oops is the kernel's, a line behind it names the object, and
// the machine goes on. And one that never ends: who waits for it gives it up, and is told where it stands. On each kernel that boots.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { Shell } from '../../src/shell/shell.ts';
import { fixturesFor } from '../vmlinuz/debian_fixtures.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const PATCH = 'klpdemo_patch_vmlinux.ko';
const CALLEE = 'seq_printf';

/** The fixture as that kernel's kbuild makes it, whose function calls another function of the kernel; its name is not longer. */
function calling(kernel: string, folder: string, name: string): Uint8Array {
  const bytes = readFileSync(join(folder, PATCH));
  const { exports } = openKernel(kernel, X86_64).native;
  const crcOf = (wanted: string): number => exports.find(wanted)?.crc ?? 0;
  for (let at = bytes.indexOf(`${CALLEE}\0`); at >= 0; at = bytes.indexOf(`${CALLEE}\0`, at + 1)) {
    bytes.write(name.padEnd(CALLEE.length, '\0'), at, 'latin1');
    // In __versions its checksum stands before it.
    if (bytes.readUInt32LE(at - 8) === crcOf(CALLEE)) bytes.writeUInt32LE(crcOf(name), at - 8);
  }
  return new Uint8Array(bytes);
}

async function oopsOf(
  kernel: string,
  module: Uint8Array,
): Promise<{ readonly log: readonly string[]; readonly after: number }> {
  const machine = await Machine.boot({ kernel });
  const run = (task: ReturnType<typeof machine.spawn>): number => {
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 60e9);
    return machine.exitStatus(task) ?? -1;
  };
  machine.addFile('/lib/modules/x.ko', module);
  expect(run(machine.insmod('/lib/modules/x.ko'))).toBe(0);
  machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, 60e9);
  const before = machine.dmesg().length;
  run(machine.spawn('cat', ['/proc/cmdline']));
  const log = machine.dmesg().slice(before);
  const after = run(machine.spawn('cat', ['/proc/version']));
  machine.close();
  return { log, after };
}

describe.each(['6.1', '6.12', '7.3'] as const)('a native function of Debian %s', (series) => {
  const kernel = vmlinuzOf(series) ?? '';
  let made: ReturnType<typeof fixturesFor> = { why: `the image of Debian's ${series} is not here` };
  beforeAll(() => {
    if (kernel !== '') made = fixturesFor(series);
  });
  beforeEach((context) => {
    if ('why' in made) context.skip(made.why);
  });
  const patchCalling = (name: string): Uint8Array =>
    calling(kernel, 'folder' in made ? made.folder : '', name);

  it.each([
    ['erst_clear', 'erst_clear', 'erst_tab'],
    ['evtchn_put', 'evtchn_to_info', 'evtchn_ops'],
  ])('%s: the oops of %s is followed by %s, and the machine goes on', async (name, where, object) => {
    const { log, after } = await oopsOf(kernel, patchCalling(name));
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
    const { log, after } = await oopsOf(kernel, patchCalling('vfs_fsync'));
    expect(log.join('\n')).toMatch(/RIP: 0010:vfs_fsync/);
    expect(log.join('\n')).not.toContain('klpemu: ');
    expect(after).toBe(0);
  });

  it('that never ends is given up, told with its stack, and nothing else stands still', async () => {
    const machine = await Machine.boot({ kernel });
    const shell = new Shell(machine, { instructionLimit: 3_000_000 });
    // Its argument is how often it counts: here a pointer.
    machine.addFile('/x.ko', patchCalling('__delay'));
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
