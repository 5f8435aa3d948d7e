// What kallsyms knows of a module: names that no address is called by, and the table that stays when init has run.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import type { Module } from '../../src/module/module.ts';
import { fixture, Rig, replaced } from './harness.ts';

const NAME = 'klpdemo_target';
/** A function of it that is as long as any name below, and the one before it. */
const [FUNCTION, BEFORE] = ['klpdemo_descend', 'klpdemo_wait'];

function load(bytes: Uint8Array): { rig: Rig; mod: Module } {
  const rig = new Rig();
  const result = rig.load(bytes, '', 'x.ko');
  if (!result.ok) throw new Error(result.reason);
  return { rig, mod: result.module };
}

describe('a symbol whose name is that of a mapping symbol', () => {
  const plain = load(fixture(NAME));
  const addr = plain.rig.core.symbols.lookupName(FUNCTION) ?? 0n;

  it.each([
    ['.L', true],
    ['.LC7', true],
    ['$a', true],
    ['$x', true],
    ['$t.0', true],
    ['$d.more', true],
    ['$b', false],
    ['$ab', false],
    ['$a_', false],
    ['a$a', false],
    ['L.C7', false],
    ['x.LC7', false],
  ])('%s: whether its address is called by what is before it: %j', (name, isMapping) => {
    const { rig } = load(replaced(fixture(NAME), FUNCTION, name));
    const { symbols } = rig.core;
    const before = symbols.lookupName(BEFORE) ?? 0n;
    const found = symbols.lookup(addr + 1n);
    expect([found?.name, found?.offset]).toEqual(
      isMapping ? [BEFORE, Number(addr + 1n - before)] : [name, 1],
    );
    // What is before it reaches over it, to the next one.
    expect(symbols.lookup(before)?.size).toBe(Number(addr - before) + (isMapping ? 0x30 : 0));
    // By its name it is found, and it is listed, as any other.
    expect(symbols.lookupName(name)).toBe(addr);
    expect([...symbols.ofModule(NAME)].find((s) => s.name === name)).toMatchObject({ addr, type: 't' });
  });
});

describe('the table of symbols that stays', () => {
  it('has what is named and lies in what stays, behind the null symbol, and each as it was', () => {
    const elf = parseElf(fixture(NAME), 'x.ko', X86_64.elf);
    const { rig, mod } = load(fixture(NAME));
    const stays = (index: number) => mod.layout.places.get(index)?.region === 'core';
    const kept = elf.symbols.filter(({ name, shndx }, i) => i === 0 || (name !== '' && stays(shndx)));
    // Symbols of sections have no name, some of sections that stay.
    expect(elf.symbols.some(({ name, shndx }) => name === '' && stays(shndx))).toBe(true);
    const { mem } = rig.core;
    const { symtab, strtab, count } = mod.symbolTable;
    const table = Array.from({ length: count }, (_, i) => mem.readU32(symtab + BigInt(24 * i)));
    expect(table.map((at) => mem.readCString(strtab + BigInt(at)))).toEqual(kept.map(({ name }) => name));
  });
});
