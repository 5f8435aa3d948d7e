// What kpatch-build and klp-build themselves have made (fixtures/split/real), split.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseElf } from '../../src/elf/elf_object.ts';
import { bundleOfSplit, PORT, splitOf } from './split_world.ts';
import { SECOND, World } from './world.ts';

const SPLIT = join(import.meta.dirname, '../../fixtures/split');
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(SPLIT, `${name}.ko`)));
const real = (name: string) => splitOf(name, 'fix', bytesOf(`real/${name}`));

/** What both targets say, one before the patch and one after it, and what is there when all has gone. */
async function run(model: 'classic' | 'bundle'): Promise<{ said: string[]; left: string[] }> {
  const w = await World.boot({ model });
  try {
    const load = (n: number): void => {
      w.machine.addFile(`/lib/t${n}.ko`, bytesOf(`klpsplit_t${n}`));
      expect(w.wait(w.machine.insmod(`/lib/t${n}.ko`))).toBe(0);
    };
    load(1);
    if (model === 'bundle') expect(w.enable(bundleOfSplit(real('klpreal_kpatch')))).toBe(0);
    else {
      w.machine.addFile('/lib/patch.ko', bytesOf('real/klpreal_kpatch'));
      expect(w.wait(w.machine.insmod('/lib/patch.ko'))).toBe(0);
    }
    w.settled();
    load(2);
    const said = [1, 2].map((n) => w.cat(`/proc/klpsplit_t${n}`));
    said.push(...w.machine.dmesg().flatMap((line) => /klpsplit_t\d: init says .*/.exec(line)?.[0] ?? []));
    expect(w.write(model === 'bundle' ? 'fix' : 'klpreal_kpatch', 'enabled', '0')).toBe(0);
    w.settled();
    w.machine.runFor(2 * SECOND);
    said.push(w.cat('/proc/klpsplit_t1'));
    if (model === 'classic') expect(w.wait(w.machine.rmmod('klpreal_kpatch'))).toBe(0);
    return { said, left: w.modules() };
  } finally {
    w.machine.close();
  }
}

describe('a module of kpatch-build', () => {
  it('is split into members without what its init makes a klp_patch with', () => {
    const { members, left, shared } = real('klpreal_kpatch');
    expect(members.map(({ object }) => object)).toEqual(['klpsplit_t1', 'klpsplit_t2']);
    for (const [i, { functions, data }] of members.entries()) {
      expect(functions).toEqual(expect.arrayContaining([`klpsplit_t${i + 1}_a`, `klpsplit_t${i + 1}_b`]));
      expect(functions).not.toContain('patch_init');
      expect(data.some((name) => name.startsWith('calls.'))).toBe(true);
    }
    expect(left).toContain('patch_init');
    expect(shared).toEqual([]);
  });

  it('says split what it says whole, and goes', async () => {
    const [classic, bundle] = [await run('classic'), await run('bundle')];
    expect(bundle).toEqual(classic);
    expect(classic.said[1]).toMatch(/^a 10\d\d\nb 20\d\d\n/);
    expect(classic.left).toEqual(['klpsplit_t1', 'klpsplit_t2']);
  });
});

describe('a module of klp-build, for 7.3', () => {
  const { members } = real('klpreal_build');

  it('is split: its init is not in the members, and what it had livepatch relocate is ordinary', () => {
    expect(members.map(({ object }) => object)).toEqual(['klpsplit_t1', 'klpsplit_t2']);
    for (const { bytes, file } of members) {
      const elf = parseElf(bytes, file, PORT.elf);
      expect(elf.sections.filter(({ name }) => /klp\.rela|klp_relocs|init\.klp/.test(name))).toEqual([]);
      expect(elf.symbols.filter(({ name }) => name.startsWith('.klp.tombstone'))).toEqual([]);
      expect(elf.symbols.filter(({ name }) => name.startsWith('.klp.sym.'))).toHaveLength(2);
    }
  });

  it('has the rows of WARNs where code of the members refers to them', () => {
    for (const [i, { bytes, file }] of members.entries()) {
      const elf = parseElf(bytes, file, PORT.elf);
      const table = elf.section('__bug_table');
      expect(table?.size).toBe(16);
      const text = elf.section('.text');
      const refs = elf
        .relocations(text?.index ?? 0)
        .filter(({ symbol }) => symbol.section === table && table !== undefined);
      // lea of the row, four bytes behind whose beginning the next instruction is counted from.
      expect(refs.map(({ symbol, addend }) => symbol.value + addend)).toEqual([-4n]);
      const [about] = elf.relocations(table?.index ?? 0);
      expect(about.symbol.name).toBe(`klpsplit_t${i + 1}_b`);
      expect(elf.relocations(text?.index ?? 0).map(({ symbol }) => symbol.name)).toContain(
        '__SCT__WARN_trap',
      );
    }
  });

  it('has init and exit where struct module of that kernel has them', () => {
    for (const { bytes, file } of members) {
      const elf = parseElf(bytes, file, PORT.elf);
      const own = elf.relocations(elf.section('.gnu.linkonce.this_module')?.index ?? 0);
      expect(own.map(({ symbol, offset }) => [symbol.name, Number(offset)])).toEqual([
        ['init_module', 0x130],
        ['cleanup_module', 0x4b8],
      ]);
    }
  });
});
