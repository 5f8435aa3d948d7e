// What struct module says of a module's memory, in both forms that kernels have had, and of one that has gone.

import { describe, expect, it } from 'vitest';
import { GuestMemory, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import { moduleMemory } from '../../src/module/module_memory.ts';
import { procModules } from '../../src/module/procfs.ts';
import { fixture, Rig } from './harness.ts';

/** struct module_memory as 6.12 has it, at a place where 6.1 has nothing. */
const ROW = { size: 72, fields: { base: 0, size: 8 }, bitfields: {} };
const AT = 0x40;
const LATER = {
  ...BUILT_IN,
  structs: {
    ...BUILT_IN.structs,
    module: {
      ...BUILT_IN.structs.module,
      fields: { ...BUILT_IN.structs.module.fields, mem: AT },
    },
    module_memory: ROW,
  },
} as unknown as KernelDescription;

const BASE = 0xffffffffc0201000n;
const LAYOUT = { textSize: 0x3000, roSize: 0x4000, roAfterInitSize: 0x4000, size: 0x6000 };

function written(kernel: KernelDescription) {
  const mem = new GuestMemory({ image: 4096, heap: 1 << 16, stacks: 1, modules: 4096, users: false });
  const struct = 0xffffffff81000000n;
  mem.map(struct, 4096, PROT_READ | PROT_WRITE);
  const memory = moduleMemory({ mem, kernel }, struct);
  return { mem, struct, memory };
}

describe('the memory of a module', () => {
  it.each([
    ['in two layouts', BUILT_IN],
    ['by kinds', LATER],
  ])('%s: where each region is, how large, and how much of it is text', (_words, kernel) => {
    const { memory } = written(kernel);
    memory.write('core', BASE, LAYOUT);
    memory.write('init', BASE + 0x8000n, { ...LAYOUT, textSize: 0x1000, roSize: 0x2000, size: 0x5000 });
    expect([memory.base('core'), memory.size('core'), memory.textSize('core')]).toEqual([
      BASE,
      0x6000,
      0x3000,
    ]);
    expect([memory.base('init'), memory.size('init'), memory.textSize('init')]).toEqual([
      BASE + 0x8000n,
      0x5000,
      0x1000,
    ]);
    memory.write('init', 0n, { size: 0, textSize: 0, roSize: 0, roAfterInitSize: 0 });
    expect([memory.base('init'), memory.size('init'), memory.base('core')]).toEqual([0n, 0, BASE]);
  });

  it('in two layouts says what is read-only, too, and what is after init', () => {
    const { mem, struct, memory } = written(BUILT_IN);
    const { fields } = BUILT_IN.structs.module;
    memory.write('core', BASE, { ...LAYOUT, roAfterInitSize: 0x5000 });
    memory.write('init', BASE + 0x8000n, { ...LAYOUT, roSize: 0x3800, roAfterInitSize: 0x3900 });
    const sizes = (['core', 'init'] as const).flatMap((region) =>
      [fields[`${region}_layout_ro_size`], fields[`${region}_layout_ro_after_init_size`]].map((at) =>
        mem.readU32(struct + BigInt(at)),
      ),
    );
    expect(sizes).toEqual([0x4000, 0x5000, 0x3800, 0x3900]);
  });

  it('by kinds has each kind behind the one before, and no address for what there is nothing of', () => {
    const { mem, struct, memory } = written(LATER);
    memory.write('core', BASE, LAYOUT);
    memory.write('init', BASE + 0x8000n, { ...LAYOUT, size: 0x5000 });
    const row = (kind: number) => {
      const at = struct + BigInt(AT + kind * ROW.size);
      return [mem.readU64(at), mem.readU32(at + 8n)];
    };
    // enum mod_mem_type: MOD_TEXT, MOD_DATA, MOD_RODATA, MOD_RO_AFTER_INIT, MOD_INIT_TEXT, MOD_INIT_DATA, MOD_INIT_RODATA
    expect([0, 1, 2, 3, 4, 5, 6].map(row)).toEqual([
      [BASE, 0x3000],
      [BASE + 0x4000n, 0x2000],
      [BASE + 0x3000n, 0x1000],
      [0n, 0],
      [BASE + 0x8000n, 0x3000],
      [BASE + 0xc000n, 0x1000],
      [BASE + 0xb000n, 0x1000],
    ]);
  });

  it('is that of core and init while it loads, and of core when it is live', () => {
    const seen: string[] = [];
    const rig: Rig = new Rig({
      hooks: {
        ftraceModuleEnable: (mod) => {
          const [core, init] = [mod.size('core'), mod.size('init')];
          expect(init).toBeGreaterThan(0);
          const line = procModules(rig.loader.modules);
          seen.push(line.split(' ')[1] === String(core + init) ? 'both' : line);
          const at = [mod.base('core'), mod.base('init')];
          const ends = [at[0] + BigInt(core), at[1] + BigInt(init)];
          expect([...at, ...ends.map((end) => end - 1n)].map((addr) => mod.contains(addr))).toEqual([
            true,
            true,
            true,
            true,
          ]);
          expect([...at.map((addr) => addr - 1n), ...ends].map((addr) => mod.contains(addr))).toEqual([
            false,
            false,
            false,
            false,
          ]);
          expect(at.map((addr) => mod.containsInit(addr))).toEqual([false, true]);
        },
      },
    });
    const result = rig.load(fixture('klpdemo_target'));
    if (!result.ok) throw new Error(result.reason);
    const { module: mod } = result;
    expect(seen).toEqual(['both']);
    expect(mod.size('init')).toBe(0);
    const core = mod.base('core');
    expect(mod.contains(core)).toBe(true);
    // Who holds it still is not told what the struct's memory is by then.
    expect(rig.unload('klpdemo_target')).toBe(0);
    expect([mod.state, mod.size('core'), mod.textSize('core'), mod.base('core')]).toEqual([
      'UNFORMED',
      0,
      0,
      core,
    ]);
    expect(mod.contains(core)).toBe(false);
  });
});
