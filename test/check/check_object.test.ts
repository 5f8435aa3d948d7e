// Real code under the check, and faults planted in its tables and in the code itself.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ORC_REG_BP, ORC_REG_SP } from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type CheckOptions, ObjectChecker } from '../../src/check/check_object.ts';
import type { ObjectCheck } from '../../src/check/verdicts.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { orcSearch, orcSpReg } from '../../src/elf/orc.ts';
import { decodeAt, type Insn } from '../../src/isa/decoder.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { checkGuest } from './guest.ts';

const MODULE = join(import.meta.dirname, '../../fixtures/modules/klpdemo_target.ko');
const OTHER = join(import.meta.dirname, '../../fixtures/modules/klpdemo_patch_target.ko');
const bytes = Uint8Array.from(readFileSync(MODULE));
const elf = parseElf(bytes, MODULE, X86_64.elf);
const rows = readOrc(elf, X86_64.code.orc) as OrcRows;
const guest = checkGuest();

function check(options: Partial<CheckOptions> = {}, object = elf): ObjectCheck {
  return new ObjectChecker(guest, object, { unwinder: 'orc', listed: 10_000, ...options }).check();
}

const spReg = (row: number): number => orcSpReg(rows.flags[row]);
/** With r10 or (bp) the stack offset of an entry is not looked at, or is where the stack pointer is kept. */
const hasOffset = (row: number): boolean => spReg(row) === ORC_REG_SP || spReg(row) === ORC_REG_BP;

const PREV_SP = 1;
const fpReg = (row: number): number => (rows.flags[row] >>> 4) & 0xf;
/** The last entry of a section says that there is no more. */
const inForce = (row: number): boolean => spReg(row) !== 0;
/** Where rbp is not the caller's any more at some instruction: without a place for it the register would do. */
function savesBp(row: number): boolean {
  if (fpReg(row) !== PREV_SP) return false;
  const { name } = elf.sections[rows.section[row]];
  const end = rows.section[row + 1] === rows.section[row] ? rows.offset[row + 1] : rows.offset[row];
  truths ??= new ObjectChecker(guest, elf, { unwinder: 'orc' });
  for (let at = rows.offset[row]; at < end; at++) {
    const proof = truths.proveAt(name, at);
    if (proof && proof.truth.prevFp !== 'register') return true;
  }
  return false;
}
let truths: ObjectChecker | undefined;
interface Columns {
  readonly spOffset: Int16Array;
  readonly fpOffset: Int16Array;
  readonly flags: Uint16Array;
}

/** Of .text, the entry in force. */
function rowAt(offset: number): number {
  const text = elf.section('.text')?.index;
  const first = rows.section.indexOf(text ?? 0);
  const last = rows.section.lastIndexOf(text ?? 0);
  return orcSearch(Uint32Array.from(rows.offset), first, last, offset);
}

/** Offsets at which the table was changed and that a check found wrong. */
function wrongIn(found: ObjectCheck, row: number): number {
  const name = elf.sections[rows.section[row]].name;
  const end = rows.section[row + 1] === rows.section[row] ? rows.offset[row + 1] : Number.MAX_SAFE_INTEGER;
  return found.places.filter((p) => p.section === name && p.offset >= rows.offset[row] && p.offset < end)
    .length;
}

describe('a module as kbuild made it', () => {
  it('is right at every instruction, and every instruction is reached', () => {
    const found = check();
    expect(found.instructions).toBeGreaterThan(500);
    expect(found).toMatchObject({ reached: found.instructions, right: found.instructions, places: [] });
  });

  it('gives the truth at one instruction', () => {
    const checker = new ObjectChecker(guest, elf, { unwinder: 'orc' });
    const proof = checker.proveAt('.text', 0);
    const saved = { rbx: 'register', r12: 'register', r13: 'register', r14: 'register', r15: 'register' };
    expect(proof?.truth).toEqual({ returnAddress: 0, prevSp: 8, prevFp: 'register', saved });
    expect(proof?.verdict).toBe('right');
    expect(checker.proveAt('.text', 0x7fffff)).toBeUndefined();
  });

  it('gives the truth at any time: after a check, before one, and in turn with another checker', () => {
    const spOffset = rows.spOffset.map((offset) => offset + 8);
    const [right, planted] = [rows, { ...rows, spOffset }].map(
      (orc) => new ObjectChecker(guest, elf, { unwinder: 'orc', orc }),
    );
    const other = new ObjectChecker(guest, parseElf(readFileSync(OTHER), OTHER, X86_64.elf), {
      unwinder: 'orc',
    });
    for (let round = 0; round < 2; round++) {
      expect(right.proveAt('.text', 0)?.verdict).toBe('right');
      expect(other.check().wrong).toBe(0);
      expect(planted.proveAt('.text', 0)?.verdict).toMatch(/wrong/);
      const found = right.check();
      expect(found).toMatchObject({ reached: found.instructions, right: found.instructions, places: [] });
    }
  });

  it('is right with calls followed into callees, every frame that is live asked for', () => {
    const found = check({ into: true });
    expect(found).toMatchObject({ reached: found.instructions, right: found.instructions, places: [] });
  });

  it('shows an entry at fault in the functions that are called from there, when calls are followed', () => {
    // Of an entry that is in force at a call within the module: the frame above is then not found from below.
    const worse = [...rows.flags.keys()].slice(0, 24).flatMap((row) => {
      if (!hasOffset(row)) return [];
      const spOffset = rows.spOffset.slice();
      spOffset[row] += 8;
      const orc = { ...rows, spOffset };
      const over = check({ orc }).places.length;
      return check({ orc, into: true }).places.length > over ? [row] : [];
    });
    expect(worse.length).toBeGreaterThan(2);
  });

  it('is wrong before and after its frames when only frame pointers are followed', () => {
    const found = check({ unwinder: 'fp' });
    expect(found.right).toBeLessThan(found.instructions);
    expect(found.unreliable + found.wrong).toBeGreaterThan(0);
  });
});

describe('a planted fault', () => {
  it('in the stack offset of any one entry is reported where that entry is in force', () => {
    for (let row = 0; row < rows.count; row++) {
      if (!hasOffset(row)) continue;
      const spOffset = rows.spOffset.slice();
      spOffset[row] += 8;
      const found = check({ orc: { ...rows, spOffset } });
      const wrong = found.places.length;
      expect(wrong, `entry ${row}`).toBeGreaterThan(0);
      expect(wrongIn(found, row), `entry ${row}`).toBe(wrong);
    }
  });

  it('in the place of rbp is wrong and declared reliable', () => {
    const row = rows.flags.findIndex((f) => ((f >>> 4) & 0xf) === 1);
    const fpOffset = rows.fpOffset.slice();
    fpOffset[row] -= 8;
    const found = check({ orc: { ...rows, fpOffset } });
    expect(wrongIn(found, row)).toBe(found.places.length);
    expect(found.wrong).toBeGreaterThan(0);
  });

  // All entries at once: what an instruction gets for an answer hangs on its own entry first.
  const fields: readonly [string, (row: number) => boolean, (row: number, to: Columns) => void][] = [
    ['stack offset, by any of its bits', hasOffset, (row, to) => (to.spOffset[row] ^= 1 << (3 + (row % 9)))],
    ['place of rbp', (row) => fpReg(row) === PREV_SP, (row, to) => (to.fpOffset[row] ^= 8 << (row % 6))],
    ['place of rbp, made undefined', savesBp, (row, to) => (to.flags[row] &= ~0xf0)],
    ['stack register, made undefined', inForce, (row, to) => (to.flags[row] &= ~0xf)],
    ['stack register, made another', hasOffset, (row, to) => (to.flags[row] ^= ORC_REG_SP ^ ORC_REG_BP)],
    ['type, made registers of an interrupt', inForce, (row, to) => (to.flags[row] |= 1 << 8)],
    ['mark of the outermost frame', inForce, (row, to) => (to.flags[row] = 0x400)],
  ];
  for (const [name, concerns, plant] of fields) {
    it(`in the ${name} is reported in every entry`, () => {
      const columns = {
        spOffset: rows.spOffset.slice(),
        fpOffset: rows.fpOffset.slice(),
        flags: rows.flags.slice(),
      };
      const planted = [...rows.flags.keys()].filter((row) => inForce(row) && concerns(row));
      for (const row of planted) plant(row, columns);
      const found = check({ orc: { ...rows, ...columns } });
      expect(planted.length).toBeGreaterThan(10);
      expect(planted.filter((row) => wrongIn(found, row) === 0)).toEqual([]);
    });
  }

  it('that drops an entry is reported: the one before it is in force there', () => {
    let reported = 0;
    for (let row = 1; row < rows.count; row++) {
      if (rows.section[row] !== rows.section[row - 1] || rows.spOffset[row] === rows.spOffset[row - 1])
        continue;
      if (spReg(row) !== ORC_REG_SP || spReg(row - 1) !== ORC_REG_SP) continue;
      const keep = <T extends Uint32Array | Uint16Array | Int32Array | Int16Array>(column: T): T =>
        column.filter((_: number, i: number) => i !== row) as T;
      const { section, offset, spOffset, fpOffset, flags } = rows;
      const orc: OrcRows = {
        count: rows.count - 1,
        section: keep(section),
        offset: keep(offset),
        spOffset: keep(spOffset),
        fpOffset: keep(fpOffset),
        flags: keep(flags),
      };
      expect(wrongIn(check({ orc }), row), `entry ${row}`).toBeGreaterThan(0);
      reported++;
    }
    expect(reported).toBeGreaterThan(10);
  });

  it('that takes any push out of the code is reported from the instruction behind it on', () => {
    let pushes = 0;
    const text = elf.section('.text');
    if (!text) throw new Error('no .text');
    const original = elf.data(text);
    for (let at = 0; at < original.length; ) {
      const { length, opcode } = decodeAt(original, at, at);
      if (length === 0) break;
      // In a function with a frame pointer no truth hangs on a push.
      if (length === 1 && opcode >= 0x50 && opcode <= 0x57 && spReg(rowAt(at + 1)) === ORC_REG_SP) {
        const mutated = bytes.slice();
        mutated[text.offset + at] = 0x90;
        const found = check({}, parseElf(mutated, MODULE, X86_64.elf));
        expect(found.places.map((p) => p.offset)).toContain(at + 1);
        pushes++;
      }
      at += length;
    }
    expect(pushes).toBeGreaterThan(3);
  });

  const mutations: readonly [string, (insn: Insn) => number][] = [
    // A byte from the instruction's end, and how it is changed.
    ['a pop', ({ opcode, length }) => (length === 1 && opcode >= 0x58 && opcode <= 0x5f ? 0x58 : 0)],
    [
      'a sub of rsp',
      ({ opcode, reg, rm, mod }) => (opcode === 0x83 && reg === 5 && mod === 3 && rm === 4 ? 8 : 0),
    ],
    [
      'an add to rsp',
      ({ opcode, reg, rm, mod }) => (opcode === 0x83 && reg === 0 && mod === 3 && rm === 4 ? 8 : 0),
    ],
  ];
  for (const [name, change] of mutations) {
    it(`in the code, in any ${name.slice(name.indexOf(' ') + 1)}, is reported at the instruction behind it`, () => {
      const text = elf.section('.text');
      if (!text) throw new Error('no .text');
      const original = elf.data(text);
      let planted = 0;
      for (let at = 0, insn: Insn; at < original.length; at += insn.length) {
        insn = { ...decodeAt(original, at, at) };
        if (insn.length === 0) break;
        const by = change(insn);
        const behind = at + insn.length;
        if (by === 0 || spReg(rowAt(behind)) !== ORC_REG_SP) continue;
        const mutated = bytes.slice();
        const byte = text.offset + behind - 1;
        mutated[byte] = by === 8 ? mutated[byte] + 8 : 0x90;
        const found = check({}, parseElf(mutated, MODULE, X86_64.elf));
        expect(found.places.map((p) => p.offset)).toContain(behind);
        planted++;
      }
      expect(planted).toBeGreaterThan(1);
    });
  }

  it('that moves a push behind the next instruction is reported at that instruction', () => {
    const text = elf.section('.text');
    if (!text) throw new Error('no .text');
    const original = elf.data(text);
    let moved = 0;
    for (let at = 0; at < original.length; ) {
      const { length, opcode } = decodeAt(original, at, at);
      if (length === 0) break;
      if (length === 1 && opcode >= 0x50 && opcode <= 0x57 && spReg(rowAt(at + 1)) === ORC_REG_SP) {
        const next = decodeAt(original, at + 1, at + 1);
        // Between two registers: nothing to relocate.
        if (next.flow === 0 && next.opcode === 0x89 && next.mod === 3) {
          const size = next.length;
          const mutated = bytes.slice();
          mutated.set(original.subarray(at + 1, at + 1 + size), text.offset + at);
          mutated[text.offset + at + size] = original[at];
          const found = check({}, parseElf(mutated, MODULE, X86_64.elf));
          expect(found.places.map((p) => p.offset)).toContain(at + size);
          moved++;
        }
      }
      at += length;
    }
    expect(moved).toBeGreaterThan(0);
  });
});
