// Real code under the check by SFrame and DWARF tables, and faults planted in them.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import { readFrames } from '../../src/check/frame_tables.ts';
import type { ObjectCheck, Unwinder } from '../../src/check/verdicts.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import type { FrameRow, FunctionFrames, ObjectFrames } from '../../src/frames/rows.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { OBJECTS } from '../frames/readelf.ts';
import { checkGuest } from './guest.ts';

const TABLES = ['sframe', 'dwarf'] as const;
const guest = checkGuest();
const bytesOf = (name: string): Uint8Array => Uint8Array.from(readFileSync(new URL(name, OBJECTS)));
const parse = (bytes: Uint8Array): ElfObject => parseElf(bytes, 'planted.o', X86_64.elf);

function check(elf: ElfObject, unwinder: Unwinder, into = false): ObjectCheck {
  return new ObjectChecker(guest, elf, { unwinder, into }).check();
}

const places = (found: ObjectCheck): string[] => found.places.map(({ place }) => place);

describe.each(TABLES)('%s tables of compiled code', (unwinder) => {
  it.each([
    ['compiled-v3.o', 1],
    ['compiled-frames-v3.o', 1],
  ])('are right in %s but where assembly moves the stack pointer and says nothing', (name, wrong) => {
    const found = check(parse(bytesOf(name)), unwinder);
    expect(found.reached).toBeGreaterThan(190);
    expect(found).toMatchObject({ right: found.reached - wrong, unreliable: wrong, wrong: 0 });
    expect(places(found)).toEqual(['flags+0x1']);
  });

  it('lead through calls that are followed, frame by frame', () => {
    const found = check(parse(bytesOf('compiled-v3.o')), unwinder, true);
    expect(places(found)).toEqual(['flags+0x1']);
  });

  it('say nothing of a function that they do not have: its trace is unreliable', () => {
    const found = check(parse(bytesOf('written-v3.o')), unwinder);
    const unsaid = found.functions.find(({ name }) => name === 'unsaid');
    expect(unsaid).toMatchObject({ reached: 3, right: 0, unreliable: 3, wrong: 0 });
    expect(found.places.find(({ place }) => place === 'unsaid+0x0')?.entry).toBe('none');
  });
});

describe('version 2 of SFrame', () => {
  it('has no words for a stack pointer that waits in another register: such functions are unreliable', () => {
    const found = check(parse(bytesOf('compiled-v2.o')), 'sframe');
    const func = found.functions.find(({ name }) => name === 'aligned_variable');
    expect(func).toMatchObject({ right: 0, wrong: 0 });
    expect(func?.unreliable).toBe(func?.reached);
  });
});

describe.each(['written-v2.o', 'written-v3.o'])('SFrame of %s, as binutils write it', (name) => {
  it('still has rbp on the stack where a cold part has taken it off: wrong, and declared reliable', () => {
    const elf = parse(bytesOf(name));
    const wrong = check(elf, 'sframe').places.filter(({ verdict }) => verdict === 'wrong, declared reliable');
    const found = wrong.find(({ place }) => place === 'gives_up.cold+0x2');
    expect(found).toMatchObject({
      stand: 'preempted',
      truth: { prevSp: 8, prevFp: 'register' },
      answer: { prevSp: 8, returnAddressRight: true, prevFpRight: false },
    });
    // What it is made from is right.
    expect(check(elf, 'dwarf').functions.find((one) => one.name === 'gives_up')).toMatchObject({
      right: 9,
      unreliable: 0,
      wrong: 0,
    });
  });
});

describe('DWARF tables of code by hand', () => {
  it('are right where the rules are expressions, registers, or registers with a distance', () => {
    const found = check(parse(bytesOf('written-debug.o')), 'dwarf');
    const names = [
      'pushes',
      'other_register',
      'by_register',
      'worked_out',
      'saved_there',
      'was_there',
      'entered',
    ];
    for (const name of names) {
      const func = found.functions.find((one) => one.name === name);
      expect(func?.right, name).toBe(func?.reached);
    }
  });

  it('are right where an expression goes round and ends, and unreliable where it goes round for ever', () => {
    const { functions } = check(parse(bytesOf('written-debug.o')), 'dwarf');
    const named = (wanted: string) => functions.find(({ name }) => name === wanted);
    expect(named('goes_round')).toMatchObject({ right: 3, unreliable: 0, wrong: 0 });
    expect(named('goes_for_ever')).toMatchObject({ right: 2, unreliable: 1, wrong: 0 });
  });
});

describe('registers that a function gives back, by DWARF', () => {
  it('are where the table says, in compiled code', () => {
    const { savedRules, reached } = check(parse(bytesOf('compiled-v3.o')), 'dwarf');
    expect(savedRules).toMatchObject({
      instructions: reached,
      right: reached,
      wrong: 0,
      below: 0,
      places: [],
    });
  });

  it('are wrong at the instructions that a wrong rule is in force at, which is no verdict of a trace', () => {
    // DW_CFA_offset of rbx, a word lower: from +0x13 to its pop at +0x4d.
    const found = check(
      planted('compiled-v3.o', '.eh_frame', [0x38, 0x83, 0x07], [0x38, 0x83, 0x08]),
      'dwarf',
    );
    const { savedRules } = found;
    expect(savedRules?.wrong).toBeGreaterThan(10);
    expect(savedRules?.places[0]).toEqual({ place: 'saves+0x13', registers: ['rbx'] });
    expect(savedRules?.places.every(({ place }) => place.startsWith('saves+'))).toBe(true);
    expect(found.wrong).toBe(0);
  });

  it('are below the stack pointer where a rule outlives the pop, and an interrupt would write over them', () => {
    // DW_CFA_nop instead of DW_CFA_restore of rbx.
    const elf = planted('compiled-v3.o', '.eh_frame', [0x7b, 0xc3, 0x0e, 0x30], [0x7b, 0, 0x0e, 0x30]);
    const { savedRules } = check(elf, 'dwarf');
    expect(savedRules).toMatchObject({ wrong: 0, below: 6 });
    expect(savedRules?.places[0]).toEqual({ place: 'saves+0x4e', registers: ['rbx'] });
  });

  it('are not asked of SFrame, which says nothing of them', () => {
    expect(check(parse(bytesOf('compiled-v3.o')), 'sframe').savedRules).toBeUndefined();
  });
});

const [RELIABLE, UNRELIABLE] = ['wrong, declared reliable', 'wrong, declared unreliable'] as const;

/** The object with some bytes of a section in another's place, of which there is one. */
function planted(
  name: string,
  section: string,
  before: readonly number[],
  after: readonly number[],
): ElfObject {
  const bytes = bytesOf(name);
  const elf = parse(bytes);
  const found = elf.section(section);
  if (!found) throw new Error(`no ${section}`);
  const table = Buffer.from(bytes.buffer, found.offset, found.size);
  const at = table.indexOf(Buffer.from(before));
  if (at < 0 || table.indexOf(Buffer.from(before), at + 1) >= 0) throw new Error('not once');
  bytes.set(after, found.offset + at);
  return parse(bytes);
}

describe('a wrong row in the bytes of a table', () => {
  it.each([
    // A row from +0x11 on, by rsp, of one word of two bytes: 336.
    ['sframe', '.sframe', [0x11, 0x23, 0x50, 0x01], [0x11, 0x23, 0x58, 0x01]],
    // DW_CFA_def_cfa_offset of 336.
    ['dwarf', '.eh_frame', [0x0e, 0xd0, 0x02], [0x0e, 0xd8, 0x02]],
  ] as const)(
    'of %s is reported at the instructions that it is in force at, with both answers',
    (unwinder, section, before, after) => {
      const found = check(planted('compiled-v3.o', section, before, after), unwinder);
      const wrong = found.places.filter(({ place }) => !place.startsWith('flags'));
      expect(wrong.map(({ place }) => place)).toEqual([
        'locals+0x11',
        'locals+0x14',
        'locals+0x19',
        'locals+0x1d',
      ]);
      expect(wrong[0]).toMatchObject({
        section: '.text',
        verdict: 'wrong, declared reliable',
        truth: { prevSp: 336 },
        answer: { prevSp: 344 },
        entry: expect.stringContaining('rsp+344'),
      });
    },
  );
});

describe('a fault of each kind in the bytes of a table', () => {
  // A row from +0x13 on: the CFA is rsp+56, rbp is at CFA-48.
  const SAVES = [0x13, 0x05, 0x38, 0xd0];
  it.each([
    ['sframe', 'register of the CFA', SAVES, [0x13, 0x04], 'saves', 0x13, UNRELIABLE],
    ['sframe', 'place of rbp', SAVES, [0x13, 0x05, 0x38, 0xd8], 'saves', 0x13, RELIABLE],
    ['sframe', 'start of a row', SAVES, [0x12], 'saves', 0x12, RELIABLE],
    // DW_CFA_def_cfa_register, of rbp, and of rbx.
    [
      'dwarf',
      'register of the CFA',
      [0x46, 0x0d, 0x06, 0x42],
      [0x46, 0x0d, 0x03],
      'variable',
      0x7,
      UNRELIABLE,
    ],
    // DW_CFA_offset of rbp.
    ['dwarf', 'place of rbp', [0x86, 0x06], [0x86, 0x05], 'saves', 0xf, RELIABLE],
    // DW_CFA_advance_loc, by 4 and by 3.
    ['dwarf', 'start of a row', [0x44, 0x0e, 0x38], [0x43], 'saves', 0x12, RELIABLE],
    // DW_CFA_restore, of rbp and of r12.
    ['dwarf', 'end of what is said of rbp', [0xc6, 0x0e, 0x28], [0xcc], 'saves', 0x4f, RELIABLE],
    // DW_CFA_offset of rip, for all functions.
    ['dwarf', 'place of the return address', [0x90, 0x01], [0x90, 0x02], 'leaf', 0x0, RELIABLE],
  ] as const)('of %s, %s: is reported at the first instruction that it is wrong at', (...row) => {
    const [unwinder, , before, after, name, at, verdict] = row;
    const section = unwinder === 'sframe' ? '.sframe' : '.eh_frame';
    const found = check(planted('compiled-v3.o', section, before, after), unwinder);
    const [first] = found.places.filter(({ place }) => !place.startsWith('flags'));
    expect(first).toMatchObject({ place: `${name}+0x${at.toString(16)}`, verdict });
  });
});

describe('a linked kernel with .debug_frame', () => {
  const read = (change: (bytes: Uint8Array, table: number) => void = () => {}): ElfObject => {
    const bytes = bytesOf('linked');
    change(bytes, Buffer.from(bytes.buffer).indexOf(Buffer.from([0x0e, 0xd0, 0x02])));
    return parseKernelObject(bytes, 'linked', X86_64);
  };

  it('is right in all functions, and says nothing of code that was thrown away', () => {
    const found = check(read(), 'dwarf');
    expect(found.functions.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['aligned_variable', 'panic']),
    );
    expect(found.functions.map(({ name }) => name)).not.toContain('thrown_away');
    expect(found.right).toBeGreaterThan(190);
    expect(places(found)).toEqual(['flags+0x1']);
  });

  it('has a wrong row reported at its instructions', () => {
    // DW_CFA_def_cfa_offset of 336.
    const found = check(
      read((bytes, at) => {
        bytes[at + 1] = 0xd8;
      }),
      'dwarf',
    );
    expect(places(found).filter((place) => !place.startsWith('flags'))).toEqual([
      'locals+0x11',
      'locals+0x14',
      'locals+0x19',
      'locals+0x1d',
    ]);
  });
});

/** The frames with the CFA of one row further up. */
function shifted({ functions, ...rest }: ObjectFrames, wanted: number): ObjectFrames {
  let number = 0;
  return {
    ...rest,
    functions: functions.map((func): FunctionFrames => {
      const { section, start, size, table, at } = func;
      const first = number;
      func.eachRow(() => {
        number++;
        return 'more';
      });
      return {
        section,
        start,
        size,
        table,
        at,
        eachRow: (visit) => {
          let i = first;
          func.eachRow((from, row) => {
            const isIt = i++ === wanted;
            return visit(from, () => {
              const found = row();
              if (!isIt || found?.cfa.kind !== 'register') return found;
              return { ...found, cfa: { ...found.cfa, offset: found.cfa.offset + 8 } };
            });
          });
        },
      };
    }),
  };
}

describe.each(TABLES)('any one row of a %s table with a wrong distance', (unwinder) => {
  it('is reported, in its function and nowhere else', () => {
    const elf = parse(bytesOf('compiled-frames-v3.o'));
    const frames = readFrames(elf, unwinder) as ObjectFrames;
    const input = inputFromElf(elf, X86_64.code);
    let row = 0;
    for (const func of frames.functions) {
      const [name] = elf.symbols.filter(
        (symbol) => symbol.shndx === func.section && Number(symbol.value) === func.start && symbol.type === 2,
      );
      const rows: (FrameRow | undefined)[] = [];
      func.eachRow((_, found) => {
        rows.push(found());
        return 'more';
      });
      for (const own of rows) {
        const wanted = row++;
        // Of an expression no distance is changed here.
        if (own?.cfa.kind !== 'register') continue;
        const subject = { input, orc: undefined, elf, frames: shifted(frames, wanted) };
        const found = new ObjectChecker(guest, subject, { unwinder }).check();
        const others = found.functions.filter(
          (one) => one.wrong + one.unreliable > 0 && one.name !== 'flags',
        );
        expect(
          others.map((one) => one.name),
          `row ${wanted}`,
        ).toEqual(name.name === 'flags' ? [] : [name.name]);
      }
    }
    expect(row).toBeGreaterThan(50);
  });
});
