// Frame tables of real objects as readelf reads them, row by row: the texts beside the objects, and readelf itself where
// it is.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readDwarfFrames } from '../../src/frames/dwarf.ts';
import { FrameTable } from '../../src/frames/frame_table.ts';
import { type ObjectFrames, rowText } from '../../src/frames/rows.ts';
import { readSFrame } from '../../src/frames/sframe.ts';
import {
  asDwarf,
  asSFrame,
  dwarfFunctions,
  type FunctionText,
  OBJECTS,
  object,
  sframeFunctions,
  TABLES,
} from './readelf.ts';

const SFRAMES = [
  'compiled-v2',
  'compiled-frames-v2',
  'written-v2',
  'compiled-v3',
  'compiled-frames-v3',
  'written-v3',
];
const DWARFS = ['compiled-v3', 'compiled-frames-v3', 'written-v3', 'written-debug'];

const text = (name: string): string => readFileSync(new URL(name, OBJECTS), 'utf8');

function sframe(name: string): ObjectFrames {
  const found = readSFrame(object(`${name}.o`), TABLES.sframe, TABLES.registers);
  if (!found) throw new Error(`no .sframe in ${name}`);
  return found;
}

function dwarf(name: string): ObjectFrames {
  const found = readDwarfFrames(object(`${name}.o`), TABLES.registers);
  if (!found) throw new Error(`no frames in ${name}`);
  return found;
}

/** Which functions readelf marks as of the flexible type. */
const flexible = (said: string): boolean[] =>
  said
    .split(/^ {4}func idx /m)
    .slice(1)
    .map((part) => /attr = "[^"]*F/.test(part));

describe('an SFrame table', () => {
  it.each(SFRAMES)('of %s.o has the rows that readelf prints of it', (name) => {
    const said = text(`${name}.sframe.txt`);
    const theirs = sframeFunctions(said);
    const marks = flexible(said);
    const ours = sframe(name).functions.map((func, i) => asSFrame(func, marks[i]));
    expect(ours.map(({ size, rows }) => ({ size, rows }))).toEqual(
      theirs.map(({ size, rows }) => ({ size, rows })),
    );
    expect(theirs.flatMap(({ rows }) => rows).length).toBeGreaterThan(10);
  });

  it('of version 3 has its functions where readelf has them', () => {
    for (const name of SFRAMES.filter((one) => one.endsWith('v3'))) {
      const theirs = sframeFunctions(text(`${name}.sframe.txt`));
      expect(sframe(name).functions.map(({ start }) => start)).toEqual(theirs.map(({ start }) => start));
    }
  });

  it('of version 3 marks code that an interrupt enters, as DWARF does', () => {
    for (const { functions } of [sframe('written-v3'), dwarf('written-v3'), dwarf('written-debug')]) {
      const marked = functions.filter((func) => {
        let signal = false;
        func.eachRow((_, row) => {
          signal ||= row()?.signal === true;
          return 'more';
        });
        return signal;
      });
      const entered = object('written-v3.o').symbol('entered');
      expect(marked.map(({ start }) => start)).toEqual([Number(entered?.value)]);
    }
  });

  it('has its functions where the DWARF table has them, whatever its version', () => {
    for (const name of SFRAMES) {
      const known = new Set(
        dwarf(name).functions.map(({ section, start, size }) => `${section} ${start} ${size}`),
      );
      for (const { section, start, size } of sframe(name).functions)
        expect(known).toContain(`${section} ${start} ${size}`);
    }
  });
});

const functions = (name: string): FunctionText[] => dwarf(name).functions.map((func) => asDwarf(func));

describe('a DWARF table', () => {
  it.each(DWARFS)('of %s.o has the rows that readelf makes of it', (name) => {
    const theirs = dwarfFunctions(text(`${name}.frames.txt`));
    expect(functions(name)).toEqual(theirs);
    expect(theirs.flatMap(({ rows }) => rows).length).toBeGreaterThan(10);
  });

  const hasReadelf = spawnSync('readelf', ['--version']).status === 0;
  it.skipIf(!hasReadelf)(
    `has the rows that this machine's readelf makes of it${hasReadelf ? '' : ' (skipped: there is no readelf)'}`,
    () => {
      for (const name of ['compiled-v2', 'compiled-frames-v2', ...DWARFS]) {
        const file = fileURLToPath(new URL(`${name}.o`, OBJECTS));
        const said = execFileSync('readelf', ['--debug-dump=frames-interp', file], { encoding: 'utf8' });
        expect(functions(name)).toEqual(dwarfFunctions(said));
      }
    },
  );

  it('is the same as .debug_frame and as .eh_frame', () => {
    const rows = (name: string): unknown =>
      functions(name).sort((a, b) => a.start - b.start || a.size - b.size);
    expect(rows('written-debug')).toEqual(rows('written-v3'));
  });
});

describe('the row in force at an address', () => {
  it.each([...SFRAMES, 'written-debug'])(
    'of %s.o is the same decoded before and read when asked for',
    (name) => {
      const elf = object(`${name}.o`);
      const start = (section: number): number => 0xc0000000 + section * 0x10000;
      for (const frames of [sframeOf(name), dwarf(name)]) {
        if (!frames) continue;
        const table = FrameTable.of(elf, frames, start);
        let known = 0;
        for (const { index, size } of elf.sections.filter(({ name: own }) => own.startsWith('.text'))) {
          for (let at = start(index) - 2; at < start(index) + size + 2; at++) {
            const number = table.find(at | 0);
            const read = table.read(at | 0);
            const decoded = number < 0 ? undefined : table.rows[number];
            expect(read && rowText(read, TABLES.registers)).toBe(
              decoded && rowText(decoded, TABLES.registers),
            );
            if (decoded) known++;
          }
        }
        expect(known).toBeGreaterThan(20);
      }
    },
  );
  const sframeOf = (name: string): ObjectFrames | undefined =>
    readSFrame(object(`${name}.o`), TABLES.sframe, TABLES.registers);
});
