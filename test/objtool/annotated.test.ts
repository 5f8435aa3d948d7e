// What the source says beside its code, as objects before the last link have it: of 6.12, where each thing has a
// section, and of 7.3, where two lists have it. The tables in the fixtures are those of the two kernels' objtool.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { orcObject } from '../../src/cli/orc/object.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { diffOrc } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { encodeOrc } from '../../src/objtool/orc_format.ts';
import { orcFormatOf, readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import { isSameRows, type OrcRows } from '../../src/objtool/orc_rows.ts';
import { writeOrc } from '../../src/objtool/orc_write.ts';
import { createSettledOrc } from '../../src/objtool/unsure_arms.ts';

const ORC = X86_64.code.orc;
const bytesOf = (file: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`../../fixtures/objects/annotated/${file}`, import.meta.url)));
const parse = (bytes: Uint8Array): ElfObject => parseElf(bytes, 'annotated.o', X86_64.elf);

describe.each([
  ['annotated-6.12.o', '6.4'],
  ['annotated-7.3.o', '7.2'],
])('%s', (file, format) => {
  const elf = parse(bytesOf(file));
  const result = createOrc(inputFromElf(elf, X86_64.code, format));
  const theirs = readOrc(elf, ORC) as OrcRows;

  it(`is of the ${format} format, by its entries`, () => {
    expect(orcFormatOf(elf, ORC)).toEqual({ format, by: 'entries' });
  });

  it('has the table that objtool makes, without a warning', () => {
    expect(result.warnings).toEqual([]);
    expect(diffOrc(result, theirs).differences).toEqual([]);
    expect(result.rows.flags.some((flags) => flags & 0x800)).toBe(true);
  });

  it('says of interrupt frames what its hints say, byte for byte', () => {
    const theirBytes = elf.data(elf.section('.orc_unwind') as never);
    expect(
      new Set(
        Buffer.from(encodeOrc(result.rows, ORC, format))
          .toString('hex')
          .match(/.{12}/g),
      ),
    ).toEqual(new Set(Buffer.from(theirBytes).toString('hex').match(/.{12}/g)));
  });

  it.each([
    ['goes_on', 3, 'goes on behind an ud2'],
    ['fills', 7, 'stays within a function by a call to a symbol'],
    ['_RNvCs1_5klpemu4step.cold', 2, 'belongs to a function of Rust'],
    ['jumps', 5, 'leaves out the endbr64 of another function'],
  ])('%s+%i has an answer: it %s', (name, at) => {
    const symbol = elf.symbols.find((s) => s.name === name);
    const offset = Number(symbol?.value) + at;
    const { rows } = result;
    let found = -1;
    for (let i = 0; i < rows.count; i++) {
      if (rows.section[i] === symbol?.shndx && rows.offset[i] <= offset) found = i;
    }
    expect(result.rows.flags[found] & 0xf).not.toBe(0);
  });
});

describe('alternatives that are left out, of which 6.13 and 6.14 meant all and later kernels mean one', () => {
  const text = (elf: ElfObject, { count, section, offset, spOffset, flags }: OrcRows): string[] =>
    Array.from({ length: count }, (_, i) => {
      const { name } = elf.sections[section[i]];
      return `${name}+${offset[i]} ${spOffset[i]} ${flags[i]}`;
    });
  const table = (file: string): string[] => {
    const elf = parse(bytesOf(file));
    return text(elf, createOrc(inputFromElf(elf, X86_64.code, '6.4')).rows);
  };
  // The code is the same.
  const of612 = table('annotated-6.12.o');

  it('are those of the kernel that the object names: the table is that of 6.12, where they had a list of their own', () => {
    expect(table('annotated-6.14-magic.o')).toEqual(of612);
    expect(inputFromElf(parse(bytesOf('annotated-6.14-magic.o')), X86_64.code).unsureArms).toEqual([]);
  });

  const path613 = fileURLToPath(
    new URL('../../fixtures/objects/annotated/annotated-6.13.o', import.meta.url),
  );
  const elf613 = parse(bytesOf('annotated-6.13.o'));
  const input613 = inputFromElf(elf613, X86_64.code, '6.4');
  const later = createOrc(input613).rows;
  const { ignoredAlternatives, unsureArms = [] } = input613;
  const earlier = createOrc({
    ...input613,
    ignoredArms: [],
    ignoredAlternatives: [...ignoredAlternatives, ...unsureArms],
  }).rows;

  it('are in doubt where it names none: the later reading is made, and the earlier one is another', () => {
    expect(unsureArms).toHaveLength(1);
    const { result, arms } = createSettledOrc(input613, () => undefined);
    expect(arms).toBe('in doubt');
    expect(text(elf613, result.rows)).toEqual(text(elf613, later));
    expect(text(elf613, earlier)).toEqual(of612);
    expect(isSameRows(earlier, later)).toBe(false);
  });

  it.each([
    ['a replacement is meant, and a list of rows is there', () => parse(bytesOf('annotated-7.3.o'))],
    ['code without CFI is said', () => changed('annotated-6.13.o', '.discard.annotate_insn', 4, 9)],
    [
      'what is left out stands for an access to user memory',
      () => changed('annotated-6.13.o', '.altinstructions', 8, 9 * 32 + 20),
    ],
  ])('are in no doubt where %s', (_, object) => {
    expect(inputFromElf(object(), X86_64.code, '6.4').unsureArms).toEqual([]);
  });

  it.each([
    ['as in 6.13, by its table', earlier],
    ['as since 6.15, by its table', later],
  ])('are left out %s, where the object has one', async (arms, rows) => {
    const folder = mkdtempSync(join(tmpdir(), 'klpemu-arms-'));
    const path = join(folder, 'own.o');
    writeFileSync(path, Buffer.concat(writeOrc(elf613, rows, '6.4', X86_64.code)));
    const { warnings, agreement } = await orcObject({ path, diff: true, dump: false });
    rmSync(folder, { recursive: true });
    expect(warnings).toEqual([`alternatives are left out ${arms}`]);
    expect(agreement?.differences).toEqual([]);
  });

  it('are in doubt with a table that neither reading makes', () => {
    const spOffset = later.spOffset.map((offset) => offset + 64);
    expect(createSettledOrc(input613, () => ({ ...later, spOffset })).arms).toBe('in doubt');
  });

  it('are said to be in doubt by orc, which then writes no table', async () => {
    const { warnings } = await orcObject({ path: path613, diff: false, dump: false, format: '6.4' });
    expect(warnings).toEqual([
      expect.stringMatching(/^nothing tells whether alternatives are left out as in 6\.13/),
    ]);
    const output = join(tmpdir(), 'klpemu-arms-none.o');
    const { error } = await orcObject({ path: path613, output, diff: false, dump: false, format: '6.4' });
    expect(error?.message).toMatch(
      /annotated-6\.13\.o.*nothing tells whether alternatives.*no table is written/,
    );
    expect(existsSync(output)).toBe(false);
  });
});

/** The object with four bytes of a section changed. */
function changed(file: string, name: string, at: number, value: number): ElfObject {
  const bytes = bytesOf(file);
  const section = parse(bytes).section(name);
  if (!section) throw new Error(`no ${name}`);
  new DataView(bytes.buffer).setUint32(section.offset + at, value, true);
  return parse(bytes);
}

/** The object with the size of a section changed. */
function resized(file: string, name: string, size: number): ElfObject {
  const bytes = bytesOf(file);
  const elf = parse(bytes);
  const header = elf.header.shoff + (elf.section(name)?.index ?? 0) * 64;
  new DataView(bytes.buffer).setUint32(header + 32, size, true);
  return parse(bytes);
}

const read = (elf: ElfObject): unknown => inputFromElf(elf, X86_64.code, '7.2');

describe('an error names the section and the place', () => {
  it.each([
    ['.discard.annotate_insn', 'annotation of type 99, which is not known'],
    ['.discard.annotate_data', 'annotation of type 99, which is not known'],
  ])('of an annotation in %s that nobody knows', (name, message) => {
    expect(() => read(changed('annotated-7.3.o', name, 4, 99))).toThrow(
      `annotated.o: ${message} (section ${name}, offset 0x0)`,
    );
  });

  it('of annotations that are no whole rows', () => {
    expect(() => read(resized('annotated-7.3.o', '.discard.annotate_insn', 39))).toThrow(
      /(rows of no known size|relocation outside its section).*\.discard\.annotate_insn/,
    );
  });

  it('of an annotation behind the end of the list', () => {
    const size = parse(bytesOf('annotated-7.3.o')).section('.discard.annotate_insn')?.size ?? 0;
    expect(() => read(resized('annotated-7.3.o', '.discard.annotate_insn', size - 8))).toThrow(
      `relocation outside its section (section .discard.annotate_insn, offset 0x${(size - 8).toString(16)})`,
    );
  });

  it('of rows whose size is none that any kernel has', () => {
    expect(() => read(resized('annotated-7.3.o', '__bug_table', 33))).toThrow(
      /rows of no known size \(section __bug_table\)/,
    );
  });

  it('of a row that is said to begin in the midst of another', () => {
    const bytes = bytesOf('annotated-7.3.o');
    const elf = parse(bytes);
    const rela = elf.relaSections.find((s) => s.name === '.rela.discard.annotate_data');
    const view = new DataView(bytes.buffer);
    // The second row of __bug_table, four bytes further on.
    const at = (rela?.offset ?? 0) + 24 + 16;
    view.setInt32(at, view.getInt32(at, true) + 4, true);
    expect(() => read(parse(bytes))).toThrow(
      'rows of 16 bytes, but one is said to begin here (section __bug_table, offset 0x14)',
    );
  });
});
