// Objects that lie about themselves. The long run is `npm run fuzz`.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseElf } from '../../src/elf/elf_object.ts';
import { tryObject } from './broken.ts';
import { Random, Victim } from './mutations.ts';

const MODULES = new URL('../../fixtures/modules/', import.meta.url);
const FILE = 'klpdemo_target.ko';
const bytes = Uint8Array.from(readFileSync(new URL(FILE, MODULES)));

/** The module with a section's header or data changed. */
function changed(name: string, change: (copy: DataView, header: number, data: number) => void): Uint8Array {
  const elf = parseElf(bytes, FILE);
  const section = elf.section(name);
  if (!section) throw new Error(`no ${name}`);
  const copy = Uint8Array.from(bytes);
  change(new DataView(copy.buffer), elf.header.shoff + section.index * 64, section.offset);
  return copy;
}

describe('objects that lie', () => {
  test.each([
    [
      'a relocation far outside its section',
      '.rela.text',
      (v: DataView, _: number, at: number) => v.setUint32(at, 0x7fffffff, true),
      /relocation outside its section/,
    ],
    [
      'a relocation against no symbol',
      '.rela.text',
      (v: DataView, _: number, at: number) => v.setUint32(at + 12, 0xffffff, true),
      /symbol that does not exist/,
    ],
    [
      'an ORC entry for no place',
      '.rela.orc_unwind_ip',
      (v: DataView, _: number, at: number) => v.setInt32(at + 16, -1, true),
      /entry 0 is for no place in a section/,
    ],
    [
      'ORC tables of unequal length',
      '.orc_unwind',
      (v: DataView, header: number) => v.setUint32(header + 32, 6, true),
      /bad or missing .orc_unwind table/,
    ],
    [
      'a table shorter than its relocations say',
      '__mcount_loc',
      (v: DataView, header: number) => v.setUint32(header + 32, 20, true),
      /relocation outside its section/,
    ],
    [
      'relocations by another symbol table',
      '.rela.text',
      (v: DataView, header: number) => v.setUint32(header + 40, 1, true),
      /not the symbol table/,
    ],
  ] as const)('%s', (_, section, change, expected) => {
    expect(tryObject(changed(section, change), FILE)).toMatch(expected);
  });

  test('text sections that lie over each other', () => {
    const elf = parseElf(bytes, FILE);
    const copy = Uint8Array.from(bytes);
    const text = elf.section('.text')?.index ?? 0;
    for (let i = 1; i < elf.sections.length - 2; i++) {
      copy.copyWithin(
        elf.header.shoff + i * 64,
        elf.header.shoff + text * 64,
        elf.header.shoff + text * 64 + 64,
      );
    }
    expect(tryObject(copy, FILE)).toMatch(/text sections overlap|not the symbol table|tables/);
  });

  test('every length that a file may have been cut to', () => {
    for (let length = 0; length < bytes.length; length += 61) {
      expect(tryObject(bytes.subarray(0, length), FILE)).not.toBe('tables');
    }
  });
});

test('two thousand broken modules give tables or an error, none of them late', () => {
  const files = readdirSync(MODULES).filter((file) => file.endsWith('.ko'));
  const victims = files.map((file) => new Victim(readFileSync(new URL(file, MODULES)), file));
  const outcomes = new Set<string>();
  for (let i = 0; i < 2000; i++) {
    const victim = victims[i % victims.length];
    const before = performance.now();
    outcomes.add(tryObject(victim.mutate(new Random(i)), victim.name).replace(/.*: /, ''));
    expect(performance.now() - before).toBeLessThan(2000);
  }
  expect(outcomes.has('tables')).toBe(true);
  expect(outcomes.size).toBeGreaterThan(10);
});
