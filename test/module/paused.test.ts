// A load in two halves: what is kept of the first one for the second, or for who gives the module up in between.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import type { Module } from '../../src/module/module.ts';
import type { ModuleHooks } from '../../src/module/ports.ts';
import { fixture, Rig } from './harness.ts';

const NAME = 'klpdemo_target';

/** A machine with the module paused, as it was with none, and what its hooks were told. */
function paused(args: string) {
  const told: string[] = [];
  const say = (what: string) => (mod: Module) => void told.push(`${what} ${mod.state}`);
  const hooks: ModuleHooks = { klpModuleGoing: say('klp going'), ftraceReleaseMod: say('ftrace release') };
  const rig = new Rig({ hooks });
  const bytes = fixture(NAME);
  rig.exportAll(undefinedSymbols(parseElf(bytes, NAME, X86_64.elf)).map(({ name }) => name));
  const before = rig.snapshot();
  const result = rig.run(rig.loader.loadPaused({ file: `${NAME}.ko`, bytes, args }));
  if (!result.ok) throw new Error(result.reason);
  return { rig, mod: result.module, before, told };
}

describe('a module that is paused', () => {
  it('has run nothing, and is coming', () => {
    const { rig, mod } = paused('depth=4');
    const depth = rig.core.symbols.lookupName('depth') ?? 0n;
    expect([mod.state, rig.calls, rig.core.mem.readS32(depth)]).toEqual(['COMING', [], 3]);
  });

  it('goes on with the parameters that it was loaded with', () => {
    const { rig, mod } = paused('depth=4');
    expect(rig.run(rig.loader.unpause(mod))).toMatchObject({ ok: true });
    const depth = rig.core.symbols.lookupName('depth') ?? 0n;
    expect([mod.state, rig.core.mem.readS32(depth)]).toEqual(['LIVE', 4]);
    expect(rig.calls.map(({ name }) => name)).toEqual([`${NAME}_init`]);
  });

  it('is gone with all that the first half took when the second one fails', () => {
    const { rig, mod, before, told } = paused('depth=many');
    expect(rig.run(rig.loader.unpause(mod))).toMatchObject({ ok: false, code: 'EINVAL' });
    expect(rig.dmesg.at(-1)).toBe(`${NAME}: \`many' invalid for parameter \`depth'`);
    expect([rig.snapshot(), rig.calls]).toEqual([before, []]);
    expect(told).toEqual(['klp going GOING', 'ftrace release GOING']);
  });

  it('is gone with all that it took when it is given up', () => {
    const { rig, mod, before, told } = paused('depth=4');
    rig.run(rig.loader.dropPaused(mod));
    expect([rig.snapshot(), rig.calls]).toEqual([before, []]);
    expect(told).toEqual(['klp going GOING', 'ftrace release GOING']);
  });

  it('is paused once: nobody goes on with what is not', () => {
    const { rig, mod } = paused('');
    expect(rig.run(rig.loader.unpause(mod))).toMatchObject({ ok: true });
    const reason = `${NAME} is not paused`;
    expect(() => rig.run(rig.loader.unpause(mod))).toThrow(reason);
    expect(() => rig.run(rig.loader.dropPaused(mod))).toThrow(reason);
    expect(mod.state).toBe('LIVE');
  });
});
