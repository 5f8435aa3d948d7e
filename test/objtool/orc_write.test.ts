// Objects with our tables in them: read back, and left as they were otherwise.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OrcFormat } from '../../src/arch/orc.ts';
import { ORC_FORMATS } from '../../src/arch/x86_64/objtool/orc_formats.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { ORC_SIGNAL } from '../../src/elf/orc.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { encodeOrc, readOrcAs } from '../../src/objtool/orc_format.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { writeOrc } from '../../src/objtool/orc_write.ts';

const FILE = 'klpdemo_target.ko';
const bytes = readFileSync(new URL(`../../fixtures/modules/${FILE}`, import.meta.url));
const object = (): ElfObject => parseElf(bytes, FILE, X86_64.elf);

/** The module as if objtool had not seen it: its tables have other names. */
function withoutOrc(): ElfObject {
  const copy = Uint8Array.from(bytes);
  const names = object().sections[object().header.shstrndx];
  const text = Buffer.from(copy.buffer, names.offset, names.size);
  for (let at = text.indexOf('orc_unwind'); at >= 0; at = text.indexOf('orc_unwind')) text.write('xyz', at);
  return parseElf(copy, FILE, X86_64.elf);
}

const columns = (rows: OrcRows | undefined): unknown =>
  rows && [rows.section, rows.offset, rows.spOffset, rows.fpOffset, rows.flags].map((c) => [...c]);

describe('a copy with tables', () => {
  test.each(ORC_FORMATS)('in the format of %s holds what was made', (format) => {
    const elf = withoutOrc();
    expect(readOrcAs(elf, X86_64.code.orc, format)).toBeUndefined();
    const { rows } = createOrc(inputFromElf(elf, X86_64.code));
    const copy = parseElf(Buffer.concat(writeOrc(elf, rows, format, X86_64.code)), FILE, X86_64.elf);
    expect(columns(readOrcAs(copy, X86_64.code.orc, format))).toEqual(columns(rows));
  });

  test('keeps every other section, symbol and relocation, and their numbers', () => {
    const elf = object();
    const { rows } = createOrc(inputFromElf(elf, X86_64.code));
    const copy = parseElf(Buffer.concat(writeOrc(elf, rows, '6.1', X86_64.code)), FILE, X86_64.elf);
    expect(copy.sections.length).toBe(elf.sections.length);
    expect(copy.symbols.map(({ section, ...s }) => [s, section?.name])).toEqual(
      elf.symbols.map(({ section, ...s }) => [s, section?.name]),
    );
    for (const [i, section] of elf.sections.entries()) {
      if (/orc_unwind/.test(section.name)) continue;
      expect(Buffer.from(copy.data(copy.sections[i])).equals(elf.data(section))).toBe(true);
      const { offset: _, ...rest } = section;
      expect(copy.sections[i]).toMatchObject(rest);
    }
  });

  test('is made without a change to the bytes it was made from', () => {
    const before = Buffer.from(Uint8Array.from(bytes));
    writeOrc(object(), createOrc(inputFromElf(object(), X86_64.code)).rows, '6.1', X86_64.code);
    expect(before.equals(bytes)).toBe(true);
  });

  test('of an object without symbols is refused', () => {
    const elf = parseElf(
      readFileSync(new URL('../../fixtures/objects/stripped.o', import.meta.url)),
      'x.o',
      X86_64.elf,
    );
    const { rows } = createOrc(inputFromElf(elf, X86_64.code));
    expect(() => writeOrc(elf, rows, '6.1', X86_64.code)).toThrow(
      'x.o: no symbol table to relocate ORC entries by',
    );
  });
});

describe('formats', () => {
  const rowsOf = (flags: number): OrcRows => ({
    count: 1,
    section: Uint32Array.of(1),
    offset: Int32Array.of(0),
    spOffset: Int16Array.of(16),
    fpOffset: Int16Array.of(-16),
    flags: Uint16Array.of(flags),
  });
  const raw = (flags: number, format: OrcFormat): number => {
    const entry = encodeOrc(rowsOf(flags), X86_64.code.orc, format);
    return entry[4] | (entry[5] << 8);
  };

  test('are those of the kernels: sp_reg, bp_reg, type, signal, end', () => {
    const call = 0x15;
    expect(ORC_FORMATS.map((f) => raw(call, f))).toEqual([0x015, 0x015, 0x215, 0x283]);
    const regs = 0x105 | ORC_SIGNAL;
    expect(ORC_FORMATS.map((f) => raw(regs, f))).toEqual([0x105, 0x505, 0xb05, 0xb03]);
    const end = 0x400;
    expect(ORC_FORMATS.map((f) => raw(end, f))).toEqual([0x400, 0x800, 0x100, 0x100]);
    expect(ORC_FORMATS.map((f) => raw(0, f))).toEqual([0, 0, 0, 0]);
  });

  test('any entry of registers and types that exist is the same after a way through each', () => {
    const elf = withoutOrc();
    const flags = fc
      .tuple(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 0, max: 2 }),
        fc.boolean(),
      )
      .map(([sp, bp, type, signal]) => sp | (bp << 4) | (type << 8) | (signal ? 0x800 : 0));
    fc.assert(
      fc.property(flags, fc.constantFrom(...ORC_FORMATS), (value, format) => {
        const rows = { ...rowsOf(value), section: Uint32Array.of(elf.section('.text')?.index ?? 0) };
        const copy = parseElf(Buffer.concat(writeOrc(elf, rows, format, X86_64.code)), FILE, X86_64.elf);
        // In 6.1 an entry of registers is that of an interrupt frame, and any other is not.
        const signal = value & 0x300 ? 0x800 : 0;
        const read = format === '6.1' ? { ...rows, flags: Uint16Array.of((value & ~0x800) | signal) } : rows;
        expect(columns(readOrcAs(copy, X86_64.code.orc, format))).toEqual(columns(read));
      }),
      { numRuns: 40 },
    );
  });
});

describe.skipIf(!existsSync('/usr/bin/readelf'))('readelf', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'klpemu-orc-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('finds nothing wrong with a copy that has more sections than the original', () => {
    const elf = withoutOrc();
    const path = join(dir, FILE);
    writeFileSync(
      path,
      Buffer.concat(writeOrc(elf, createOrc(inputFromElf(elf, X86_64.code)).rows, '6.1', X86_64.code)),
    );
    const { stdout, stderr } = spawnSync('readelf', ['-aW', path], { encoding: 'utf8', maxBuffer: 1 << 26 });
    expect(stderr).toBe('');
    expect(stdout).toContain("Relocation section '.rela.orc_unwind_ip'");
  });
});
