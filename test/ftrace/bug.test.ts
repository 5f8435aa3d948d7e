// A site that does not hold what it should, in a machine: the kernel executes the warnings, on the way that it has to them.

import { afterEach, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { Session } from '../properties/session.ts';

let session: Session;
afterEach(() => session.machine.close());

it('is warned of where bytes are compared and where ftrace tells of it; ftrace is off, and the patch refused', async () => {
  session = await Session.boot();
  const { core, ftrace } = session.machine.inspect;
  core.mem.pokeText(core.symbols.require('cmdline_proc_show'), Uint8Array.of(0x0f, 0x0b, 0x90, 0x90, 0x90));
  expect(session.insmod('patch_vmlinux')).toBe(UAPI.ENODEV);
  expect(ftrace.disabled).toBe(true);
  const log = session.machine.dmesg().join('\n');
  const places = [...log.matchAll(/WARNING: CPU: \d PID: \d+ at (\S+ \w+)/g)].map(([, place]) => place);
  expect(places).toEqual([
    'arch/x86/kernel/ftrace.c:95 ftrace_verify_code',
    'kernel/trace/ftrace.c:2161 ftrace_bug',
  ]);
  expect(log.indexOf('ftrace failed to modify')).toBeLessThan(log.indexOf('ftrace.c:2161'));
});
