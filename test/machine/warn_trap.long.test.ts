// WARN() of Debian's 7.3: its own __WARN_trap, and the sites of its static call, where the trap itself stands.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { readStaticCallSites } from '../../src/module/patch_sites.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { moduleFor } from './for_kernel.ts';
import { warningOf } from './warning.ts';

const MODULE = readFileSync(join(import.meta.dirname, '../../fixtures/modules/klpdemo_warn_trap.ko'));
const file = vmlinuzOf('7.3');

it('a WARN() of 7.3 says what it says there, by a trap in place and by its own function', async (context) => {
  if (!file) return context.skip("the image of Debian's 7.3 is not here and could not be fetched");
  const machine = await Machine.boot({ kernel: file });
  try {
    const module = moduleFor(new Uint8Array(MODULE), openKernel(file, X86_64), ['__bug_table']);
    const lines = warningOf(machine, module, 'call');
    const from = lines.findIndex((text) => text.includes('cut here'));
    expect(lines.slice(from + 1, from + 3)).toEqual([
      'klpdemo: call warns: 2 3 4 5 6 7',
      expect.stringMatching(
        /^WARNING: klpdemo_warn_trap\.c:43 at klpdemo_warn_call\+0x7\/0x\w+ \[klpdemo_warn_trap\], CPU#\d: insmod\/\d+$/,
      ),
    ]);
    expect(lines.find((text) => text.startsWith('RIP: '))).toContain('0010:__WARN_trap+0x0/');

    const { symbols, mem } = machine.inspect.core;
    const [addr, end] = ['__start_static_call_sites', '__stop_static_call_sites'].map((name) =>
      symbols.require(name),
    );
    const key = symbols.require('__SCK__WARN_trap');
    const sites = readStaticCallSites(machine.inspect.core, { addr, size: Number(end - addr) }).filter(
      (site) => site.key === key && !site.tail && mem.isMapped(site.addr, 5),
    );
    expect(sites.length).toBeGreaterThan(1000);
    const traps = sites.filter(
      (site) => Buffer.from(mem.readBytes(site.addr, 5)).toString('hex') === '67480fb93a',
    );
    expect(traps.length).toBe(sites.length);
  } finally {
    machine.close();
  }
});
