// How the layout of an object's ORC table is known, and that nothing is read by guess.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { OrcFormat } from '../../src/arch/orc.ts';
import { ORC_FORMATS } from '../../src/arch/x86_64/objtool/orc_formats.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SHF_ALLOC, SHT_PROGBITS } from '../../src/elf/constants.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { rewriteElf } from '../../src/elf/elf_writer.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { orcFormatOf, orcFormatToWrite, readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { writeOrc } from '../../src/objtool/orc_write.ts';

const FILE = 'klpdemo_target.ko';
const bytes = readFileSync(new URL(`../../fixtures/modules/${FILE}`, import.meta.url));
const original = parseElf(bytes, FILE, X86_64.elf);
const { rows } = createOrc(inputFromElf(original, X86_64.code));

const HASHES: Readonly<Record<string, string>> = {
  '6.3': 'db84aed4103b31dd51e017f8f79783ca985c2c51',
  '6.4': 'fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24',
  '7.2': '137c36ad7627c4dd55932176bb0ecdbd5041fc82',
};

/** The module with its version written over: as an object before the last link. */
function withoutVersion(elf: ElfObject): ElfObject {
  const copy = Uint8Array.from(elf.bytes);
  const text = Buffer.from(copy.buffer);
  for (let at = text.indexOf('vermagic='); at >= 0; at = text.indexOf('vermagic=')) text.write('xyz', at);
  return parseElf(copy, FILE, X86_64.elf);
}

/** An object before the last link, with a table. */
const withTable = (format: OrcFormat, table: OrcRows = rows): ElfObject =>
  parseElf(Buffer.concat(writeOrc(withoutVersion(original), table, format, X86_64.code)), FILE, X86_64.elf);

/** The object as a module of that kernel. */
function ofVersion(elf: ElfObject, version: string): ElfObject {
  const copy = Uint8Array.from(elf.bytes);
  const text = Buffer.from(copy.buffer);
  for (let at = text.indexOf('xyzmagic='); at >= 0; at = text.indexOf('xyzmagic='))
    text.write(`vermagic=${version}`, at);
  return parseElf(copy, FILE, X86_64.elf);
}

/** The table of 6.4 in an object whose module information is a kernel's banner, with a symbol of that name. */
function withBanner(banner: string): ElfObject {
  const elf = withTable('6.4');
  const copy = Uint8Array.from(elf.bytes);
  const text = Buffer.from(copy.buffer);
  const [info, symtab] = [elf.section('.modinfo'), elf.symtab];
  const step = elf.symbol('klpdemo_step') ?? elf.symbols.find((s) => s.name.length >= 12);
  if (!info || !symtab || !step) throw new Error('nothing to write over');
  text.write(`${banner}\0`, info.offset);
  const names = elf.sections[symtab.link];
  const at = elf.symbols.indexOf(step);
  const view = new DataView(copy.buffer);
  const entry = symtab.offset + at * 24;
  text.write('linux_banner\0', names.offset + view.getUint32(entry, true));
  view.setUint16(entry + 6, info.index, true);
  view.setBigUint64(entry + 8, 0n, true);
  return parseElf(copy, FILE, X86_64.elf);
}

function withHeader(elf: ElfObject, hash: string): ElfObject {
  const data = Uint8Array.from(Buffer.from(hash, 'hex'));
  const section = { type: SHT_PROGBITS, flags: SHF_ALLOC, align: 1, entsize: 0, data };
  return parseElf(Buffer.concat(rewriteElf(elf, [{ name: '.orc_header', ...section }])), FILE, X86_64.elf);
}

const columns = (table: OrcRows | undefined): unknown =>
  table && [table.section, table.offset, table.spOffset, table.fpOffset, table.flags].map((c) => [...c]);

describe('the layout of a table', () => {
  it.each(Object.entries(HASHES))('of %s is known by the hash in .orc_header', (format, hash) => {
    const elf = withHeader(withTable(format as OrcFormat), hash);
    expect(orcFormatOf(elf, X86_64.code.orc)).toEqual({ format, by: 'header' });
    expect(columns(readOrc(elf, X86_64.code.orc))).toEqual(columns(rows));
  });

  it('is known by the version of a module that has no .orc_header', () => {
    expect(orcFormatOf(original, X86_64.code.orc)).toEqual({ format: '6.1', by: 'version' });
  });

  it.each([
    ['6.2', '6.1'],
    ['6.3', '6.3'],
    ['6.9', '6.4'],
    ['7.1', '6.4'],
    ['7.3', '7.2'],
  ] as const)(
    'of a module of %s is that of %s, and is contradicted by entries of another',
    (version, format) => {
      expect(orcFormatOf(ofVersion(withTable(format), version), X86_64.code.orc)).toEqual({
        format,
        by: 'version',
      });
      const other = format === '7.2' ? '6.4' : '7.2';
      expect(() => orcFormatOf(ofVersion(withTable(other), version), X86_64.code.orc)).toThrow(
        `are not in the ${format} format of its version, but in that of ${other}`,
      );
    },
  );

  it('of a module of a later kernel than any that is known is an error, unless it has a header', () => {
    const elf = ofVersion(withTable('7.2'), '9.9');
    expect(() => orcFormatOf(elf, X86_64.code.orc)).toThrow(
      `${FILE}: it is of 9.9, later than any kernel whose ORC format is known: --format says`,
    );
    expect(orcFormatOf(withHeader(elf, HASHES['7.2']), X86_64.code.orc)).toMatchObject({ by: 'header' });
  });

  it('is known by the banner of a kernel that has neither', () => {
    const elf = withBanner('Linux version 6.12.117+deb13-amd64 (debian-kernel@lists.debian.org)');
    expect(orcFormatOf(elf, X86_64.code.orc)).toEqual({ format: '6.4', by: 'version' });
  });

  it.each(['6.3', '6.4', '7.2'] as const)('of %s is written into a module with its header', (format) => {
    const copy = parseElf(Buffer.concat(writeOrc(original, rows, format, X86_64.code)), FILE, X86_64.elf);
    const header = copy.section('.orc_header');
    expect(header && Buffer.from(copy.data(header)).toString('hex')).toBe(HASHES[format]);
    expect(orcFormatOf(copy, X86_64.code.orc)).toEqual({ format, by: 'header' });
  });

  it('of 6.1, and of an object before the last link, is written without one', () => {
    const module = parseElf(Buffer.concat(writeOrc(original, rows, '6.1', X86_64.code)), FILE, X86_64.elf);
    expect(module.section('.orc_header')).toBeUndefined();
    const object = withoutVersion(original);
    const copy = parseElf(Buffer.concat(writeOrc(object, rows, '7.2', X86_64.code)), FILE, X86_64.elf);
    expect(copy.section('.orc_header')).toBeUndefined();
  });

  it.each(ORC_FORMATS)('of %s is told by the entries where functions start, without either', (format) => {
    const elf = withTable(format);
    // In 6.1 and 6.3 the entries of compiled functions are the same bytes.
    const told = format === '6.3' ? '6.1' : format;
    const or = told === '6.1' ? { or: '6.3' } : {};
    expect(orcFormatOf(elf, X86_64.code.orc)).toEqual({ format: told, by: 'entries', ...or });
    expect(columns(readOrc(elf, X86_64.code.orc))).toEqual(columns(rows));
  });

  it('of 6.3 is told from that of 6.1 by an entry that they write in two ways', () => {
    const flags = rows.flags.slice();
    flags[rows.flags.findIndex((f) => (f & 0xf) === 0)] = 0x400;
    const [first, second] = (['6.1', '6.3'] as const).map((f) =>
      orcFormatOf(withTable(f, { ...rows, flags }), X86_64.code.orc),
    );
    expect([first?.format, second?.format]).toEqual(['6.1', '6.3']);
    expect([first?.or, second?.or]).toEqual([undefined, undefined]);
  });

  it('of a hash that nobody knows is an error that names it and the way out', () => {
    const elf = withHeader(withTable('6.4'), '00'.repeat(20));
    expect(() => readOrc(elf, X86_64.code.orc)).toThrow(
      `${FILE}: .orc_header has the hash of no ORC format that is known (${'00'.repeat(20)}): --format says how to read`,
    );
    expect(columns(readOrc(elf, X86_64.code.orc, '6.4'))).toEqual(columns(rows));
  });

  it('that no entry tells is an error that names the way out', () => {
    const elf = withTable('6.4', { ...rows, spOffset: rows.spOffset.map((n) => n + 8) });
    expect(() => readOrc(elf, X86_64.code.orc)).toThrow(
      /no entry that tells its ORC format: --format says how/,
    );
    expect(readOrc(elf, X86_64.code.orc, '6.4')?.count).toBe(rows.count);
  });

  it.each([
    ['header', withHeader(withTable('6.4'), HASHES['7.2']), undefined, '6.4'],
    ['option', withTable('7.2'), '6.1', '7.2'],
  ] as const)('is an error where the %s says another than the entries', (_, elf, wanted, other) => {
    expect(() => readOrc(elf, X86_64.code.orc, wanted)).toThrow(
      new RegExp(`are not in the .*, but in that of ${other}`),
    );
  });

  it('is not that of the option where the .orc_header names another, to be read or to be written', () => {
    const elf = withHeader(withTable('7.2'), HASHES['7.2']);
    for (const use of [orcFormatOf, orcFormatToWrite]) {
      expect(() => use(elf, X86_64.code.orc, '6.4')).toThrow(
        'its .orc_header is that of the 7.2 format, not of 6.4',
      );
      expect(use(elf, X86_64.code.orc, '7.2')).toEqual({ format: '7.2', by: 'option' });
    }
  });

  it('is nothing that an object without a table and without a version has', () => {
    const copy = Uint8Array.from(withoutVersion(original).bytes);
    const text = Buffer.from(copy.buffer);
    for (let at = text.indexOf('orc_unwind'); at >= 0; at = text.indexOf('orc_unwind')) text.write('xyz', at);
    expect(orcFormatOf(parseElf(copy, FILE, X86_64.elf), X86_64.code.orc)).toBeUndefined();
  });
});

/** The module with its rows of __bug_table as 7.2 has them: a pointer to a format behind the first, and its relocations. */
function withLaterBugs(elf: ElfObject): ElfObject {
  const [table, relas] = [elf.section('__bug_table'), elf.section('.rela__bug_table')];
  if (!table || !relas) throw new Error('no bugs');
  const rows = elf.data(table);
  const longer = new Uint8Array((rows.length / 12) * 16);
  for (let row = 0; row * 12 < rows.length; row++) {
    longer.set(rows.subarray(row * 12, row * 12 + 4), row * 16);
    longer.set(rows.subarray(row * 12 + 4, row * 12 + 12), row * 16 + 8);
  }
  // The format is where the file's name is: each of the rows has both.
  const moved: Uint8Array[] = [];
  for (let at = 0; at < relas.size; at += 24) {
    const relocation = elf.data(relas).slice(at, at + 24);
    const view = new DataView(relocation.buffer);
    const offset = view.getUint32(0, true);
    const row = Math.floor(offset / 12) * 16;
    for (const field of offset % 12 === 0 ? [0] : [4, 8]) {
      view.setUint32(0, row + field, true);
      moved.push(relocation.slice());
    }
  }
  const { type, flags, align, entsize } = table;
  const changes = [
    { name: table.name, type, flags, align, entsize, data: longer },
    {
      ...{ name: relas.name, type: relas.type, flags: relas.flags, align: relas.align, entsize: 24 },
      ...{ data: Buffer.concat(moved), link: '.symtab', info: table.name },
    },
  ];
  return parseElf(Buffer.concat(rewriteElf(elf, changes)), elf.file, X86_64.elf);
}

describe('rows of __bug_table as long as in 7.2', () => {
  it('say the same of the WARNs as those of 6.1', () => {
    const name = 'klpdemo_fault.ko';
    const elf = parseElf(
      readFileSync(new URL(`../../fixtures/modules/${name}`, import.meta.url)),
      name,
      X86_64.elf,
    );
    const { reachable } = inputFromElf(elf, X86_64.code);
    expect(reachable.length).toBeGreaterThan(0);
    expect(inputFromElf(withLaterBugs(elf), X86_64.code).reachable).toEqual(reachable);
  });
});
