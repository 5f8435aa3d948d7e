// A livepatch relocation in what an alternative puts into the text: it has its value before the bytes are copied.

import { describe, expect, it } from 'vitest';
import { CpuFeatures } from '../../src/arch/x86_64/module/cpu_features.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SHF_RELA_LIVEPATCH, SHN_LIVEPATCH } from '../../src/elf/constants.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import { object, Rig } from './harness.ts';

const FOUND = 0xffffffff81000100n;

/** The object, with its relocations of the replacement marked as livepatch's, for the kernel itself. */
function marked(): Uint8Array {
  const bytes = object('livepatch-alternative');
  const view = new DataView(bytes.buffer);
  const elf = parseElf(bytes.slice(), 'livepatch_alternative.ko', X86_64.elf);
  const header = (name: string): number => elf.header.shoff + (elf.section(name)?.index ?? 0) * 64;
  const at = header('.rela.altinstr_replacement');
  view.setUint32(at + 8, SHF_RELA_LIVEPATCH, true);
  view.setUint32(at, view.getUint32(header('.klp.rela.vmlinux..altinstr_replacement'), true), true);
  const [symbol] = undefinedSymbols(elf);
  view.setUint16((elf.symtab?.offset ?? 0) + symbol.index * 24 + 6, SHN_LIVEPATCH, true);
  return bytes;
}

describe('an alternative whose replacement calls what livepatch finds', () => {
  it('calls that from where it was copied to', () => {
    const asked: unknown[] = [];
    const rig = new Rig({
      features: new CpuFeatures('POPCNT'),
      klpFindObjectSymbol: (...args: unknown[]) => {
        asked.push(args);
        return FOUND;
      },
    });
    const result = rig.run(rig.loader.loadModule({ file: 'livepatch_alternative.ko', bytes: marked() }));
    if (!result.ok) throw new Error(result.reason);
    expect(asked).toEqual([[undefined, 'klpdemo_counterpart', 0n]]);
    const site = result.module.base('core');
    expect(rig.core.mem.readU8(site)).toBe(0xe8);
    expect(site + 5n + BigInt(rig.core.mem.readS32(site + 1n))).toBe(FOUND);
  });
});
