// What kallsyms knows of a module: names that no address is called by, and the table that stays when init has run.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import { fixture, loadedFrom, Rig, renamed, replaced } from './harness.ts';

const NAME = 'klpdemo_target';
/** A function of it that is as long as any name below, and the one before it. */
const [FUNCTION, BEFORE] = ['klpdemo_descend', 'klpdemo_wait'];

describe('a symbol whose name is that of a mapping symbol', () => {
  const plain = loadedFrom(fixture(NAME));
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
    const { rig } = loadedFrom(replaced(fixture(NAME), FUNCTION, name));
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

describe('an address in a module', () => {
  const { rig, mod } = loadedFrom(fixture(NAME));
  const { symbols } = rig.core;
  const at = (name: string) => symbols.lookupName(name) ?? 0n;
  const textEnd = mod.base('core') + BigInt(mod.textSize('core'));

  it('in text is told with the bytes up to the next symbol, or to the end of all text', () => {
    expect(symbols.format(at(FUNCTION) + 5n)).toBe(`${FUNCTION}+0x5/0x30 [${NAME}]`);
    const last = [...symbols.ofModule(NAME)]
      .filter(({ type }) => type === 't')
      .reduce((a, b) => (b.addr > a.addr ? b : a));
    const size = (textEnd - last.addr).toString(16);
    expect(symbols.format(last.addr)).toBe(`${last.name}+0x0/0x${size} [${NAME}]`);
  });

  it('at the very end of text, with nothing: the symbol is of what is behind it', () => {
    const elf = parseElf(fixture(NAME), 'x.ko', X86_64.elf);
    const bytes = fixture(NAME);
    const symbol = elf.symbols.find(({ name }) => name === 'depth')?.index ?? 0;
    const first = elf.section('.note.gnu.build-id')?.index ?? 0;
    const view = new DataView(bytes.buffer);
    view.setUint16((elf.symtab?.offset ?? 0) + 24 * symbol + 6, first, true);
    view.setBigUint64((elf.symtab?.offset ?? 0) + 24 * symbol + 8, 0n, true);
    const other = loadedFrom(bytes).rig.core.symbols;
    expect(other.lookupName('depth')).toBe(textEnd);
    expect(other.format(textEnd + 1n)).toBe(`depth+0x1/0x0 [${NAME}]`);
  });

  it.each(['depth', '__param_depth', '__this_module'])(
    'in data, as in %s, with what is left from there to the end of text, which is before it',
    (name) => {
      const size = BigInt.asUintN(64, textEnd - at(name)).toString(16);
      expect(size).toMatch(/^f{12}/);
      expect(symbols.format(at(name) + 1n)).toBe(`${name}+0x1/0x${size} [${NAME}]`);
    },
  );
});

describe('the letter of a symbol', () => {
  const elf = parseElf(fixture(NAME), 'x.ko', X86_64.elf);
  const [GLOBAL, WEAK, OBJECT, FUNC, NOTYPE] = [1 << 4, 2 << 4, 1, 2, 0];
  const [UNDEF, ABS, LIVEPATCH] = [0, 0xfff1, 0xff20];
  const section = (name: string): number => elf.section(name)?.index ?? 0;

  /** The letter while the module is coming, when the table is the whole one, of a symbol made otherwise. */
  function letter(info: number, shndx: number, bytes = fixture(NAME)): string | undefined {
    const symbol = elf.symbols.find(({ name }) => name === 'depth');
    const at = (elf.symtab?.offset ?? 0) + 24 * (symbol?.index ?? 0);
    const view = new DataView(bytes.buffer);
    view.setUint8(at + 4, info);
    view.setUint16(at + 6, shndx, true);
    view.setBigUint64(at + 8, 0n, true);
    view.setBigUint64(at + 16, 0n, true);
    const rig = new Rig({ percpu: { alloc: () => 0n, free: () => {}, copy: () => {} } });
    rig.exportAll([...undefinedSymbols(elf).map(({ name }) => name), 'depth']);
    const result = rig.run(rig.loader.loadPaused({ file: 'x.ko', bytes }));
    if (!result.ok) throw new Error(result.reason);
    return [...rig.core.symbols.ofModule(NAME)].find(({ name }) => name === 'depth')?.type;
  }

  it.each([
    ['w', 'weak', WEAK | FUNC, section('.text')],
    ['w', 'weak, and nowhere', WEAK | NOTYPE, UNDEF],
    ['v', 'a weak object', WEAK | OBJECT, section('.data')],
    ['u', 'nowhere', GLOBAL | NOTYPE, UNDEF],
    ['a', 'absolute', GLOBAL | OBJECT, ABS],
    ['?', 'of no section', GLOBAL | OBJECT, LIVEPATCH],
    ['t', 'in text', GLOBAL | FUNC, section('.text')],
    ['t', 'in text of init', FUNC, section('.init.text')],
    ['r', 'in data that nobody writes', OBJECT, section('.rodata')],
    ['d', 'in data', OBJECT, section('.data')],
    ['b', 'in data without bytes', OBJECT, section('.bss')],
    ['?', 'in what is not loaded', NOTYPE, section('.comment')],
    ['?', 'in what the loader reads once', OBJECT, section('.modinfo')],
  ])('is %s of one that is %s', (expected, _, info, shndx) => {
    expect(letter(info, shndx)).toBe(expected);
  });

  it.each([
    ['a', 'per-CPU data', '.rodata', '.data..percpu'],
    ['n', 'debug information', '.comment', '.debug_str'],
    ['?', 'what has that in its midst', '.comment', '.no.debug'],
  ])('is %s of one in %s', (expected, _, from, to) => {
    expect(letter(NOTYPE, section(from), renamed(fixture(NAME), from, to))).toBe(expected);
  });
});

describe('a symbol that a module only takes', () => {
  it('is listed of a livepatch, which keeps all its symbols, and not found as one of its own', () => {
    const { rig, mod } = loadedFrom(fixture('klpdemo_patch_target'));
    const { symbols } = rig.core;
    const listed = [...symbols.ofModule(mod.name)].filter(({ name }) => name === '__fentry__');
    expect(listed).toEqual([
      { name: '__fentry__', addr: symbols.lookupName('__fentry__'), size: 0, type: 'u' },
    ]);
    expect([symbols.matches('__fentry__', mod.name), symbols.lookupName(`${mod.name}:__fentry__`)]).toEqual([
      [],
      undefined,
    ]);
    expect(symbols.matches('klpdemo_new_check', mod.name)).toHaveLength(1);
  });
});

describe('the table of symbols that stays', () => {
  it('has what is named and lies in what stays, behind the null symbol, and each as it was', () => {
    const elf = parseElf(fixture(NAME), 'x.ko', X86_64.elf);
    const { rig, mod } = loadedFrom(fixture(NAME));
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
