// A livepatch of a function that this image has not got: whether the real kernel has it is told beside the kernel's words.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { kernelFunctions } from '../../src/kernel/known_functions.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { Session } from '../properties/session.ts';

const PATCH = join(import.meta.dirname, '../../fixtures/modules/klpdemo_patch_vmlinux.ko');
const REPLACED = 'cmdline_proc_show';
let session: Session;

afterEach(() => session.machine.close());

/** The livepatch of cmdline_proc_show, as one of another function. */
async function load(name: string) {
  session = await Session.boot();
  const bytes = new Uint8Array(readFileSync(PATCH));
  const at = Buffer.from(bytes).indexOf(`\0${REPLACED}\0`) + 1;
  bytes.set(Buffer.from(name.padEnd(REPLACED.length, '\0'), 'latin1'), at);
  const notes: string[] = [];
  session.machine.events.subscribe((e) => e.type === 'note' && notes.push(e.text), ['note']);
  session.machine.addFile('/tmp/patch.ko', bytes);
  const exit = session.wait(session.machine.insmod('/tmp/patch.ko'));
  return { exit, notes, dmesg: session.machine.dmesg().join('\n') };
}

describe('a livepatch of a function that is not in the image', () => {
  it('and that the real kernel can patch is told so', async () => {
    const { exit, notes, dmesg } = await load('tcp_v4_rcv');
    expect(exit).toBe(UAPI.EINVAL);
    expect(dmesg).toContain("livepatch: symbol 'tcp_v4_rcv' not found in symbol table");
    expect(notes).toEqual([
      "'tcp_v4_rcv' is a function of Debian's 6.1.0-56-amd64 that livepatches can replace there; " +
        "this machine's image does not have it (docs/differences.md says what it has)",
    ]);
  });

  it('and that no kernel has gets the words of the kernel alone', async () => {
    const { exit, notes, dmesg } = await load('tcp_v4_recieve');
    expect(exit).toBe(UAPI.EINVAL);
    expect(dmesg).toContain("livepatch: symbol 'tcp_v4_recieve' not found in symbol table");
    expect(notes).toEqual([]);
  });
});

describe('the list of the functions that livepatches can replace', () => {
  it('is that of the real kernel', async () => {
    session = await Session.boot();
    const known = kernelFunctions();
    expect(known.size).toBe(37_502);
    for (const name of ['schedule', 'tcp_v4_rcv', 'cmdline_proc_show', '__do_softirq'])
      expect(known.has(name)).toBe(true);
    for (const name of ['', 'klp_ftrace_handler_', 'tcp_v4_rc']) expect(known.has(name)).toBe(false);
  });
});
