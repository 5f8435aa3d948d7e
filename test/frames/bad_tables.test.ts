// Tables that lie about themselves: what is wrong, and where, is said.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { ElfError } from '../../src/elf/error.ts';
import { readDwarfFrames } from '../../src/frames/dwarf.ts';
import { FrameTable } from '../../src/frames/frame_table.ts';
import { atCfa, byRegister, type FunctionFrames } from '../../src/frames/rows.ts';
import { readSFrame } from '../../src/frames/sframe.ts';
import { OBJECTS, TABLES } from './readelf.ts';

type Change = (table: DataView, relocations: DataView, header: DataView) => void;

/** What is said of an object whose section (and what relocates it) is changed. */
function said(name: string, section: string, change: Change): string {
  const bytes = Uint8Array.from(readFileSync(new URL(name, OBJECTS)));
  const whole = parseElf(bytes, name, X86_64.elf);
  const view = (wanted: string): DataView => {
    const found = whole.section(wanted);
    if (!found) throw new Error(`no ${wanted}`);
    return new DataView(bytes.buffer, found.offset, found.size);
  };
  const index = whole.section(section)?.index ?? 0;
  change(
    view(section),
    view(`.rela${section}`),
    new DataView(bytes.buffer, whole.header.shoff + index * 64, 64),
  );
  try {
    const elf = parseElf(bytes, name, X86_64.elf);
    const frames =
      section === '.sframe'
        ? readSFrame(elf, TABLES.sframe, TABLES.registers)
        : readDwarfFrames(elf, TABLES.registers);
    if (!frames) return 'no table';
    FrameTable.of(elf, frames, (i) => 0xc0000000 + i * 0x10000);
    return 'a table';
  } catch (error) {
    if (error instanceof ElfError) return error.message;
    throw error;
  }
}

describe('an SFrame table', () => {
  it('of version 1 is refused by file and place', () => {
    expect(said('written-v1.o', '.sframe', () => {})).toBe(
      'written-v1.o: SFrame version 1; versions 2 and 3 are known (section .sframe, offset 0x2)',
    );
  });

  it.each<[string, Change, RegExp]>([
    [
      'an unknown version',
      (t) => t.setUint8(2, 4),
      /version 4; versions 2 and 3 are known \(section .sframe, offset 0x2\)/,
    ],
    ['another magic', (t) => t.setUint16(0, 0x1234), /not SFrame: magic 0x3412/],
    ['the other byte order', (t) => t.setUint16(0, 0xdee2), /the other byte order/],
    ['unknown flags', (t) => t.setUint8(3, 0x84), /unknown flags 0x80 /],
    ['another ABI', (t) => t.setUint8(4, 2), /ABI 2, not AMD64/],
    [
      'more functions than there are bytes',
      (t) => t.setUint32(8, 0x7fffffff, true),
      /2147483647 SFrame functions run out/,
    ],
    ['more rows than there are bytes', (t) => t.setUint32(12, 0x7fffffff, true), /2147483647 SFrame rows in/],
    ['fewer rows than functions have', (t) => t.setUint32(12, 3, true), /more rows than the 3 of the header/],
    ['rows outside', (t) => t.setUint32(16, 0x7fffffff, true), /rows run out of the section/],
    ['functions outside', (t) => t.setUint32(20, 0xfffffff0, true), /functions run out of the section/],
    ['an auxiliary header of the whole table', (t) => t.setUint8(7, 255), /run out of the section/],
    [
      'a function larger than its section',
      (t) => t.setUint32(28 + 8, 0x1000, true),
      /function of 4096 bytes runs out of .text/,
    ],
    [
      'a function with rows elsewhere',
      (t) => t.setUint32(28 + 12, 0xffff, true),
      /rows of a function outside/,
    ],
    [
      'two functions at one place',
      (_, r) => r.setBigInt64(24 + 16, 0n, true),
      /two functions of the table overlap \(section .sframe/,
    ],
    [
      'a function for no place',
      (_, r) => r.setBigInt64(16, 0x10000n, true),
      /start of a function is for no place/,
    ],
    [
      'a start of half the bytes',
      (_, r) => r.setUint32(8, 2, true),
      /of 8 bytes has a relocation R_X86_64_PC32/,
    ],
    ['a relocation of another kind', (_, r) => r.setUint32(8, 9, true), /relocation of type 9/],
    ['fewer bytes than a header', (_, __, h) => h.setBigUint64(32, 20n, true), /relocation at|run out/],
  ])('with %s is refused', (_, change, reason) => {
    const message = said('written-v3.o', '.sframe', change);
    expect(message).toMatch(reason);
    expect(message).toMatch(/^written-v3.o: /);
  });

  /** The attributes of the first function of version 3, and its rows behind. */
  const first = (t: DataView): number => 28 + t.getUint32(24, true) + t.getUint32(28 + 12, true);
  it.each<[string, Change, RegExp]>([
    ['a function of an unknown type', (t) => t.setUint8(first(t) + 3, 2), /function of type 2/],
    ['rows of an unknown type', (t) => t.setUint8(first(t) + 2, 3), /rows of type 3/],
    ['code that repeats itself after nothing', (t) => t.setUint8(first(t) + 2, 0x10), /after 0 bytes/],
    [
      'rows that do not rise',
      (t) => t.setUint8(first(t) + 5, 9),
      /row for \+0x1 behind one for a later place/,
    ],
    ['data of an unknown size', (t) => t.setUint8(first(t) + 6, 0x63), /data of an unknown size/],
    [
      'more data than there is use for',
      (t) => t.setUint8(first(t) + 6, 0x0f),
      /more data than there is use for|not rise|row for/,
    ],
  ])('with %s is refused', (_, change, reason) => {
    expect(said('written-v3.o', '.sframe', change)).toMatch(reason);
  });
});

describe('rows of a table', () => {
  it('may not be more than any kernel has: each differs, and is long', () => {
    const elf = parseElf(readFileSync(new URL('written-v3.o', OBJECTS)), 'written-v3.o', X86_64.elf);
    const long = TABLES.registers.names.map((name) => name.padEnd(100_000, '_'));
    let told = 0;
    const endless: FunctionFrames = {
      section: elf.section('.text')?.index ?? 0,
      start: 0,
      size: 0x10000000,
      table: '.eh_frame',
      at: 0x18,
      eachRow: (visit) => {
        while (told < 0x10000000) {
          const rules = new Map([[6, atCfa(-8 * told)]]);
          visit(told++, () => ({ cfa: byRegister(7, 8), rules, signal: false, returnAddress: 16 }));
        }
      },
    };
    const frames = {
      format: 'DWARF',
      bytes: 0,
      registers: { ...TABLES.registers, names: long },
      functions: [endless],
    };
    expect(() => FrameTable.of(elf, frames, () => 0xc0000000)).toThrow(
      'written-v3.o: more rows than any kernel has (section .eh_frame, offset 0x18)',
    );
    expect(told).toBeLessThan(1000);
  });
});

describe('a DWARF table', () => {
  it.each<[string, Change, RegExp]>([
    [
      'an entry longer than the section',
      (t) => t.setUint32(0, 0x7ffffff0, true),
      /entry of 2147483632 bytes/,
    ],
    [
      'an entry of 64-bit length',
      (t) => t.setUint32(0, 0xffffffff, true),
      /entry of|which is none of a frame's/,
    ],
    ['a CIE of an unknown version', (t) => t.setUint8(8, 9), /CIE of version 9/],
    ['an unknown augmentation', (t) => t.setUint8(10, 0x51), /augmentation 'zQ'/],
    ['a code alignment of 0', (t) => t.setUint8(12, 0), /code alignment of 0/],
    ['the return address in no register', (t) => t.setUint8(14, 200), /return address in register 200/],
    ['addresses of an unknown encoding', (t) => t.setUint8(16, 0x01), /encoding 0x1/],
    ['addresses of the data', (t) => t.setUint8(16, 0x3b), /encoding 0x3b/],
    [
      'an unknown instruction',
      (t) => t.setUint8(17, 0x3f),
      /instruction 0x3f is unknown \(section .eh_frame, offset 0x11\)/,
    ],
    [
      'an FDE that leads to no CIE',
      (t) => t.setUint32(0x1c, 0x18, true),
      /leads to no CIE \(section .eh_frame, offset 0x18\)/,
    ],
    [
      'a function larger than its section',
      (t) => t.setUint32(0x24, 0x1000, true),
      /function of 4096 bytes runs out/,
    ],
    ['a row behind the function', (t) => t.setUint8(0x29, 0x40 + 63), /row for \+0x3f after one/],
    ['a state that was not remembered', (t) => t.setUint8(0x29, 0x0b), /no state is remembered/],
    [
      'two functions at one place',
      (_, r) => r.setBigInt64(24 + 16, 0n, true),
      /two functions of the table overlap/,
    ],
    ['a function for no place', (_, r) => r.setBigInt64(16, 0x10000n, true), /for no place in a section/],
    ['a start that is no distance', (_, r) => r.setUint32(8, 10, true), /relocation R_X86_64_32/],
  ])('with %s is refused', (_, change, reason) => {
    expect(said('written-v3.o', '.eh_frame', change)).toMatch(reason);
  });

  it('names the place of an operation that is none', () => {
    const change: Change = (t) => {
      const at = Buffer.from(t.buffer, t.byteOffset, t.byteLength).indexOf(
        Buffer.from([0x0f, 0x04, 0x77, 0x00]),
      );
      t.setUint8(at + 2, 0x50);
    };
    expect(said('written-v3.o', '.eh_frame', change)).toMatch(
      /operation 0x50 is not one of call frames \(section .eh_frame, offset 0x[0-9a-f]+\)/,
    );
  });

  it('ends at an entry without a length, and goes on behind it', () => {
    expect(said('written-v3.o', '.eh_frame', () => {})).toBe('a table');
  });
});
