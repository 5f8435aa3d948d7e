// What is not split: modules that contradict themselves, and modules whose parts would depend on what may be away. Each is
// told with its place.

import { describe, expect, it } from 'vitest';
import { checkNoCycle } from '../../src/bundle/contents.ts';
import { exportName, memberName } from '../../src/bundle/split/names.ts';
import { SplitRefused } from '../../src/bundle/split/split.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { uber } from './split_runs.ts';
import { koOf, PORT, splitOf } from './split_world.ts';

const open = (name: string): ElfObject => parseElf(uber(name).slice(), `${name}.ko`, PORT.elf);
const split = (bytes: Uint8Array): unknown => splitOf('damaged', 'fix', bytes);

/** A copy with one word of a table of relocations changed. */
function withWord(elf: ElfObject, table: string, row: number, field: number, value: bigint): Uint8Array {
  const section = elf.section(table);
  if (!section) throw new Error(`no ${table}`);
  elf.view(section).setBigUint64(24 * row + field, value, true);
  return elf.bytes;
}

/** A copy in which a text of a file is another of the same length, wherever it is. */
function withText(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1').replaceAll(from, to);
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** Which relocation of .data puts a pointer at an offset of a symbol. */
function rowAt(elf: ElfObject, symbol: string, offset: number): number {
  const at = Number(elf.symbol(symbol)?.value) + offset;
  const section = elf.section('.rela.data');
  return elf.relocationTable(section?.index ?? 0).findIndex((row) => row.offset === at);
}

const OBJECT = { size: 168, funcs: 8 };
const ADDEND = 16;

/** Members of a module of kpatch-build one of whose sections has another name, and which of them have that section. */
function withSectionNamed(name: string): unknown {
  const { members } = splitOf('tables', 'fix', withText(uber('kpatch_data'), '.data.history', name));
  const has = (bytes: Uint8Array): boolean =>
    parseElf(bytes, 'member.ko', PORT.elf).section(name) !== undefined;
  return members.map(({ object, bytes }) => [object, has(bytes)]);
}

describe('a section that is named as a table', () => {
  it('is one by how its name begins', () => {
    const asItIs = withSectionNamed('.data.history');
    expect(asItIs).toContainEqual(['vmlinux', true]);
    expect(withSectionNamed('d.kpatch.hist')).toEqual(asItIs);
    expect(() => withSectionNamed('.kpatch.histo')).toThrow(SplitRefused);
  });
});

describe('a module that contradicts itself', () => {
  it('has two relocations of one place', () => {
    const elf = open('o2');
    const [first] = elf.relocationTable(elf.section('.rela.text')?.index ?? 0);
    const bytes = withWord(elf, '.rela.text', 1, 0, BigInt(first.offset + 2));
    expect(() => split(bytes)).toThrow(
      "damaged.ko: relocations contradict each other: '__fentry__' and '__x86_return_thunk' (section .text, offset 0x3)",
    );
  });

  it('names another section than it relocates', () => {
    const bytes = withText(uber('data'), '.klp.rela.klpsplit_t2..text', '.klp.rela.klpsplit_t2..data');
    expect(() => split(bytes)).toThrow(
      'its name says .data, and it relocates .text (section .klp.rela.klpsplit_t2..data)',
    );
  });

  it('has a symbol of the kernel among those of a module', () => {
    const bytes = withText(
      uber('data'),
      '.klp.sym.klpsplit_t2.klpsplit_t2_state,0',
      '.klp.sym.vmlinux.aaaaklpsplit_t2_state,0',
    );
    expect(() => split(bytes)).toThrow(
      /'aaaaklpsplit_t2_state' of vmlinux is relocated with what belongs to klpsplit_t2/,
    );
  });

  it('has functions of two objects that fall into each other', () => {
    const elf = open('o2');
    const into = Number(elf.symbol('new_a1')?.value) + 4;
    const bytes = withWord(elf, '.rela.data', rowAt(elf, 'funcs2', 8), ADDEND, BigInt(into));
    expect(() => split(bytes)).toThrow(
      /the replacements of 'klpsplit_t2_a' \(klpsplit_t2\) and 'klpsplit_t1_a' \(klpsplit_t1\) fall into each other/,
    );
  });

  it('has a function of one object whose end runs into one of another, which those of one object may', () => {
    // e9 jmp __x86_return_thunk becomes b8 mov eax, imm32
    const withoutReturn = (name: string): Uint8Array => {
      const elf = open('o2');
      const symbol = elf.symbol(name);
      const text = elf.section('.text');
      const end = (text?.offset ?? 0) + Number(symbol?.value) + Number(symbol?.size);
      expect(elf.bytes[end - 5]).toBe(0xe9);
      elf.bytes[end - 5] = 0xb8;
      return elf.bytes;
    };
    expect(() => split(withoutReturn('new_b1'))).toThrow(
      /'klpsplit_t1_b' \(klpsplit_t1\) and 'klpsplit_t2_a' \(klpsplit_t2\) fall into each other \(section \.text/,
    );
    expect(() => split(withoutReturn('new_a1'))).not.toThrow();
  });

  it('has an object twice', () => {
    const elf = open('o2');
    const [one, other] = [0, OBJECT.size].map((offset) => rowAt(elf, 'objs', offset));
    const table = elf.relocationTable(elf.section('.rela.data')?.index ?? 0);
    const bytes = withWord(elf, '.rela.data', other, ADDEND, table[one].addend);
    expect(() => split(bytes)).toThrow(/object 'klpsplit_t1' is there twice \(section .data, offset 0x/);
  });

  it('has an object without functions and callbacks', () => {
    const elf = open('o2');
    const end = Number(elf.symbol('funcs2')?.value) + 2 * 152;
    const bytes = withWord(
      elf,
      '.rela.data',
      rowAt(elf, 'objs', OBJECT.size + OBJECT.funcs),
      ADDEND,
      BigInt(end),
    );
    expect(() => split(bytes)).toThrow(
      /object 'klpsplit_t2' has no functions and no callbacks: its member would be empty/,
    );
  });

  it('has more sections than a module may have', () => {
    const { bytes, header } = open('o2');
    const count = 65_280;
    const out = Buffer.concat([bytes, bytes.subarray(header.shoff), Buffer.alloc(64 * count)]);
    out.writeBigUInt64LE(BigInt(bytes.length), 40);
    out.writeUInt16LE(0, 60);
    out.writeBigUInt64LE(BigInt(count), bytes.length + 32);
    expect(() => split(out)).toThrow(
      'damaged.ko: 65280 sections are more than the 65279 that a module may have (offset 0x3c)',
    );
  });

  it('has a branch that leads out of its section', () => {
    const elf = open('o2');
    const text = elf.section('.text');
    const at = Number(elf.symbol('new_b1')?.value) + 5;
    // The call of new_a1, which the assembler has resolved.
    if (text) elf.view(text).setInt32(at + 1, 0x100000, true);
    expect(() => split(elf.bytes)).toThrow(/a branch leads out of its section \(section .text, offset 0x/);
  });

  it('has bytes that are no instruction, or an instruction that reaches into the next function', () => {
    const broken = (at: number, ...bytes: number[]): ElfObject => {
      const elf = open('o2');
      const text = elf.section('.text');
      if (text) elf.data(text).set(bytes, at);
      return elf;
    };
    const at = Number(open('o2').symbol('new_b1')?.value);
    expect(() => split(broken(at + 5, 0x06).bytes)).toThrow(
      `damaged.ko: no instruction can be decoded (section .text, offset 0x${(at + 5).toString(16)})`,
    );
    // In the place of the jump before it, one of ten bytes.
    expect(() => split(broken(at - 5, 0x48, 0xb8).bytes)).toThrow(
      /an instruction reaches into the next function/,
    );
  });

  it('is no patch module', () => {
    expect(() => split(koOf('klpdemo_target'))).toThrow("not a livepatch: no 'livepatch=Y' in .modinfo");
  });
});

/** Why a module is refused. */
function reasons(bytes: Uint8Array): readonly string[] {
  try {
    split(bytes);
    return [];
  } catch (error) {
    if (error instanceof SplitRefused) return error.reasons;
    throw error;
  }
}

describe('names of members', () => {
  it('have at most 55 letters', () => {
    const nameOf = (length: number): string => 'x'.repeat(length - '_klpsplit_t1'.length);
    expect(splitOf('o2', nameOf(55), uber('o2')).members[0].file).toBe(`${nameOf(55)}_klpsplit_t1.ko`);
    expect(() => splitOf('o2', nameOf(56), uber('o2'))).toThrow(SplitRefused);
  });

  it('of what they export have at most 50, by a checksum of eight digits where they would have more', () => {
    expect(exportName('fix', 'a'.repeat(46))).toBe(`fix.${'a'.repeat(46)}`);
    const long = Array.from({ length: 64 }, (_, i) => exportName('fix', `${'a'.repeat(47)}${i}`));
    for (const name of long) expect(name).toMatch(/^fix\.a{37}\.[0-9a-f]{8}$/);
    expect(new Set(long).size).toBe(64);
    // Some of the checksums begin with a zero.
    expect(long.some((name) => name.includes('.0'))).toBe(true);
    expect(memberName('a-b.c', 'vmlinux')).toBe('a_b_c_vmlinux');
  });
});

describe('a module that cannot be split', () => {
  it('would have a member that refers to an object that may be away', () => {
    const other = withText(uber('data'), '.klp.rela.klpsplit_t1..text', '.klp.rela.klpsplit_t2..text');
    const found = reasons(withText(other, '.klp.sym.klpsplit_t1.', '.klp.sym.klpsplit_t2.'));
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]).toMatch(
      /^the member for klpsplit_t1 has 'new_a1', which refers to 'klpsplit_t1_\w+' of klpsplit_t2, and klpsplit_t2 may be away \(section .text, offset 0x[0-9a-f]+\)$/,
    );
  });

  it('has an init that does something else than to enable the patch', () => {
    expect(reasons(koOf('klpdemo_bad_names')).join('\n')).toContain(
      "'klpdemo_bad_names_init' works on 'objs', a table that is split itself",
    );
  });

  it('has a parameter that sets nothing of any member', () => {
    expect(reasons(koOf('klpdemo_state_a'))).toEqual([
      "what a parameter sets, 'ask_ops', is in no member (section __param, offset 0x0)",
    ]);
  });

  it('has a name of its bundle that makes those of members too long', () => {
    expect(() => splitOf('klpsplit_o2', 'a'.repeat(50), uber('o2'))).toThrow(SplitRefused);
  });
});

describe('a bundle whose members need each other', () => {
  const member = (file: string, exports: string[], imports: string[]) => ({
    file,
    contents: { exports, imports },
  });

  it('is told with the circle', () => {
    const members = [
      member('a.ko', ['x'], ['y']),
      member('b.ko', ['y'], ['z']),
      member('c.ko', ['z'], ['x']),
    ];
    expect(() => checkNoCycle(members)).toThrow(
      'members need each other: a.ko needs b.ko needs c.ko needs a.ko',
    );
  });

  it('is none where they take from one that takes nothing', () => {
    const members = [member('a.ko', ['x'], []), member('b.ko', ['y'], ['x']), member('c.ko', [], ['x', 'y'])];
    expect(() => checkNoCycle(members)).not.toThrow();
  });
});
