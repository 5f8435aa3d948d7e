// Objects that lie about themselves. The long run is `npm run fuzz`.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { type Failure, tryShare } from './fuzz_share.ts';
import { Victim } from './mutations.ts';
import { Random } from './random.ts';
import { tryObject } from './try_object.ts';

const MODULES = new URL('../../fixtures/modules/', import.meta.url);
/** Of later kernels, with the tables and annotations that those have. */
const LATER = new URL('../../fixtures/objects/annotated/', import.meta.url);
const TABLES = new URL('../../fixtures/objects/unwinders/', import.meta.url);
const FILE = 'klpdemo_target.ko';
const bytes = Uint8Array.from(readFileSync(new URL(FILE, MODULES)));

/** The module with a section's header or data changed. */
function changed(name: string, change: (copy: DataView, header: number, data: number) => void): Uint8Array {
  const elf = parseElf(bytes, FILE, X86_64.elf);
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
    const elf = parseElf(bytes, FILE, X86_64.elf);
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

describe('tables of nonsense under the check', () => {
  const guest = new CheckGuest();
  afterAll(() => guest.close());
  const check = (copy: Uint8Array) =>
    new ObjectChecker(guest, parseElf(copy, FILE, X86_64.elf), { unwinder: 'orc' }).check();

  test('whatever register an entry names, it is wrong there or, where it is in force nowhere, no difference', () => {
    const { wrong, unreliable, reached, right } = check(
      changed('.orc_unwind', (v, header, at) => {
        const entries = Number(v.getBigUint64(header + 32, true)) / 6;
        for (let i = 0; i < entries; i++) v.setUint16(at + i * 6 + 4, 0xff | (i << 8), true);
      }),
    );
    expect(right).toBe(0);
    expect(wrong + unreliable).toBe(reached);
  });

  test('in no order says the same as in order: loading a module sorts it', () => {
    const reversed = changed('.orc_unwind', (v, header, at) => {
      reverseRows(v, at, Number(v.getBigUint64(header + 32, true)), 6);
      const ips = parseElf(bytes, FILE, X86_64.elf).section('.rela.orc_unwind_ip');
      reverseAddends(v, ips?.offset ?? 0, ips?.size ?? 0);
    });
    expect(reversed).not.toEqual(bytes);
    expect(check(reversed)).toMatchObject({ wrong: 0, unreliable: 0 });
  });
});

/** Rows of a table, the last one first. */
function reverseRows(view: DataView, at: number, length: number, size: number): void {
  const table = new Uint8Array(view.buffer, at, length);
  const rows = table.slice();
  for (let i = 0; i < length; i += size) table.set(rows.subarray(i, i + size), length - size - i);
}

/** Of relocations symbol and addend; places and types stay where they are. */
function reverseAddends(view: DataView, at: number, length: number): void {
  const before = new Uint8Array(view.buffer.slice(at, at + length));
  const table = new Uint8Array(view.buffer, at, length);
  for (let i = 0; i < length; i += 24) table.set(before.subarray(length - 24 - i + 8, length - i), i + 8);
}

describe('broken modules', () => {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-broken-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const paths = [MODULES, LATER].flatMap((folder) =>
    readdirSync(folder).flatMap((file) => (/\.k?o$/.test(file) ? fileURLToPath(new URL(file, folder)) : [])),
  );

  const tables = readdirSync(TABLES).filter((file) => /-(v2|v3|debug)\.o$/.test(file));
  const withTables = tables.map((file) => fileURLToPath(new URL(file, TABLES)));
  const withSFrame = withTables.filter((path) => !path.endsWith('-debug.o'));

  test.each([
    ['orc', 600, paths],
    ['check', 300, paths],
    ['sframe', 300, withSFrame],
    ['dwarf', 300, withTables],
    ['kernel', 300, []],
  ] as const)('of klpemu %s get a report or an error, none of them late', async (command, to, broken) => {
    const outcomes: Record<string, number> = {};
    const failures: Failure[] = [];
    await tryShare(
      { command, from: 0, to, seed: 7, file: join(dir, `${command}.ko`), victims: broken },
      (report) => {
        failures.push(...report.failures);
        for (const [name, n] of Object.entries(report.outcomes)) outcomes[name] = (outcomes[name] ?? 0) + n;
      },
    );
    expect(failures).toEqual([]);
    expect(Object.keys(outcomes).sort()).toEqual(['ENOEXEC', 'reports']);
    // Of a kernel's image each change in what is packed is an error.
    expect(outcomes.reports).toBeGreaterThan(to / (command === 'kernel' ? 8 : 4));
    expect(outcomes.ENOEXEC).toBeGreaterThan(to / 4);
  });

  test('give many different errors', () => {
    const messages = new Set<string>();
    const broken = paths.map((path) => new Victim(readFileSync(path), FILE));
    for (let i = 0; i < 2000; i++) {
      const { bytes: copy } = broken[i % broken.length].mutate(new Random(i));
      messages.add(tryObject(copy, FILE).replace(/\d+|0x[0-9a-f]+/g, 'N'));
    }
    expect(messages.size).toBeGreaterThan(20);
  });
});
