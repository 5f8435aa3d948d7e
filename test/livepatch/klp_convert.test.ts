// A converted module on the machine: its symbols are found, cleared when their module goes, and found again.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { klpConvert } from '../../src/elf/klp_convert.ts';
import { parseKlpSymbols } from '../../src/elf/klp_symbols.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { checkInvariants } from '../properties/audit.ts';
import { Session } from '../properties/session.ts';

const MODULE = join(import.meta.dirname, '../../fixtures/modules/klpdemo_patch_local.ko');
let session: Session;

afterEach(() => session.machine.close());

function insmod(s: Session, list?: string): number {
  const built = new Uint8Array(readFileSync(MODULE));
  const bytes =
    list === undefined
      ? built
      : klpConvert(parseElf(built, MODULE, X86_64.elf), parseKlpSymbols(list, '')).bytes;
  s.machine.addFile('/tmp/patch.ko', bytes);
  const exit = s.wait(s.machine.insmod('/tmp/patch.ko'));
  if (exit === 0) expect(s.settled()).toBe(true);
  return exit;
}

/** Displacements of the two calls (the second is a jump): the target's symbol, and the kernel's. */
function displacements({ machine }: Session): number[] {
  const { core } = machine.inspect;
  const at = core.symbols.require('klpdemo_patch_local:klpdemo_new_show_version');
  return [0x13n, 0x2fn].map((offset) => core.mem.readS32(at + offset));
}

const SEEN = /^klpdemo version local: twin 102\nBOOT_IMAGE=/;

describe('a livepatch that calls local symbols', () => {
  it('does not load as it was built, and does when it was converted', async () => {
    session = await Session.boot();
    expect(session.insmod('target')).toBe(0);
    expect(insmod(session)).toBe(UAPI.ENOENT);
    expect(session.machine.dmesg().join('\n')).toContain(
      'klpdemo_patch_local: Unknown symbol klpdemo_twin (err -2)',
    );
    expect(insmod(session, 'vmlinux.cmdline_proc_show')).toBe(0);
    expect(session.cat('/proc/klpdemo')).toMatch(SEEN);
  });

  it('has the symbols of its target for as long as that is loaded, however often', async () => {
    session = await Session.boot();
    expect(insmod(session, 'vmlinux.cmdline_proc_show')).toBe(0);
    for (let round = 0; round < 3; round++) {
      const [target, kernel] = displacements(session);
      expect(target).toBe(0);
      expect(kernel).not.toBe(0);
      expect(session.insmod('target')).toBe(0);
      expect(displacements(session)[0]).not.toBe(0);
      expect(session.cat('/proc/klpdemo')).toMatch(SEEN);
      expect(session.rmmod('target')).toBe(0);
    }
    expect(checkInvariants(session.machine)).toEqual([]);
  });

  it('is cleared when the load of its target fails, and the next load is good', async () => {
    session = await Session.boot();
    expect(insmod(session, 'vmlinux.cmdline_proc_show')).toBe(0);
    session.machine.inspect.core.faults.arm({ point: 'klp_patch_func' });
    expect(session.insmod('target')).toBe(UAPI.EINVAL);
    expect(displacements(session)[0]).toBe(0);
    expect(session.insmod('target')).toBe(0);
    expect(session.cat('/proc/klpdemo')).toMatch(SEEN);
  });

  it('is refused where the kernel has no such symbol, or several', async () => {
    session = await Session.boot();
    expect(insmod(session, 'vmlinux.cmdline_proc_show,2')).toBe(UAPI.EINVAL);
    expect(session.machine.dmesg().join('\n')).toContain(
      "livepatch: symbol position 2 for symbol 'cmdline_proc_show' in object 'vmlinux' not found",
    );
  });
});
