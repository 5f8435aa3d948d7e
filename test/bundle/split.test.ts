// Uber modules split into bundles: what each member has, and that it does on a machine what the module does.

import { afterEach, describe, expect, it } from 'vitest';
import { parseElf } from '../../src/elf/elf_object.ts';
import { readModInfo } from '../../src/elf/modinfo.ts';
import { bundleOfSplit, koOf, PORT, splitOf } from './split_world.ts';
import { SECOND, World } from './world.ts';

let worlds: World[] = [];
afterEach(() => {
  for (const { machine } of worlds) machine.close();
  worlds = [];
});

async function boot(model: 'classic' | 'bundle'): Promise<World> {
  const world = await World.boot({ model });
  worlds.push(world);
  return world;
}

function insmod(w: World, name: string): void {
  w.machine.addFile(`/lib/${name}.ko`, koOf(name));
  expect(w.wait(w.machine.insmod(`/lib/${name}.ko`, ''))).toBe(0);
}

/** Lines of the log that a callback of klpdemo_patch_both has written. */
const callbacks = (w: World): string[] =>
  w.machine.dmesg().flatMap((line) => /klpdemo_patch_both: p\w+patch: .*/.exec(line) ?? []);

describe('klpdemo_patch_both, split', () => {
  it('has a member for each of its objects, with what that reaches and no more', () => {
    const { members, shared } = splitOf('klpdemo_patch_both');
    const [kernel, target] = members;
    expect(members.map(({ object }) => object)).toEqual(['vmlinux', 'klpdemo_target']);
    expect(kernel.functions).toContain('klpdemo_new_meminfo_proc_show');
    expect(kernel.functions.join()).not.toContain('klpdemo_new_round');
    expect(target.functions).toContain('klpdemo_new_round');
    expect(target.functions.join()).not.toContain('meminfo');
    // The parameter that callbacks of both read.
    expect(shared).toEqual(['fix.pre_patch_ret']);
    expect(kernel.data).toContain('pre_patch_ret');
    expect(target.data).not.toContain('pre_patch_ret');
  });

  it('exports shared state from the member for vmlinux to the one that imports it', () => {
    const [kernel, target] = splitOf('klpdemo_patch_both').members.map(({ bytes, file }) =>
      parseElf(bytes, file, PORT.elf),
    );
    expect(kernel.symbol('fix.pre_patch_ret')?.section?.name).toBe('.bss');
    expect(target.symbols.find(({ name }) => name === 'fix.pre_patch_ret')?.shndx).toBe(0);
    expect(readModInfo(target).get('depends')).toBe('fix_vmlinux');
    expect([...readModInfo(kernel).getAll('parmtype')].sort()).toEqual(['pre_patch_ret:int', 'replace:bool']);
    expect(readModInfo(target).getAll('parmtype')).toEqual(['replace:bool']);
  });

  it('makes the same bytes of the same bytes', () => {
    const [one, other] = [1, 2].map(() => Buffer.from(bundleOfSplit(splitOf('klpdemo_patch_both'))));
    expect(one.equals(other)).toBe(true);
  });

  it.each(['before', 'after'])('does what the module does when its target comes %s it', async (when) => {
    const outputs = [];
    for (const model of ['classic', 'bundle'] as const) {
      const w = await boot(model);
      const seen: string[] = [];
      const look = (): void => {
        seen.push(w.cat('/proc/meminfo').split('\n')[0], w.cat('/proc/klpdemo').split('\n')[0]);
      };
      const enable = (): void => {
        if (model === 'classic') insmod(w, 'klpdemo_patch_both');
        else expect(w.enable(bundleOfSplit(splitOf('klpdemo_patch_both')))).toBe(0);
        expect(w.settled()).toBe(true);
      };
      if (when === 'before') insmod(w, 'klpdemo_target');
      look();
      enable();
      if (when === 'after') insmod(w, 'klpdemo_target');
      look();
      w.machine.runFor(2 * SECOND);
      const counts = w.cat('/proc/klpdemo').split('\n');
      expect(counts).toContain('mixed 0');
      // Enabled before the target came: no round of the original.
      if (when === 'after') expect(counts[1]).toMatch(/^rounds 0 0 [1-9]/);
      expect(w.write(model === 'classic' ? 'klpdemo_patch_both' : 'fix', 'enabled', '0')).toBe(0);
      expect(w.settled()).toBe(true);
      look();
      outputs.push({ seen, callbacks: callbacks(w) });
    }
    expect(outputs[1]).toEqual(outputs[0]);
    expect(outputs[1].seen).toContain('klpdemo version 3 (livepatched)');
    expect(outputs[1].callbacks).toHaveLength(8);
  });

  it('goes when it is disabled, members and all', async () => {
    const w = await boot('bundle');
    insmod(w, 'klpdemo_target');
    expect(w.enable(bundleOfSplit(splitOf('klpdemo_patch_both')))).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.modules()).toEqual(['fix_klpdemo_target', 'fix_vmlinux', 'klpdemo_target']);
    expect(w.write('fix', 'enabled', '0')).toBe(0);
    expect(w.settled() && w.freed('fix')).toBe(true);
    expect(w.machine.runUntil(() => w.modules().length === 1, 10 * SECOND)).toBe(true);
  });
});
