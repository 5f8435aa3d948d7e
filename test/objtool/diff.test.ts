// Faults planted in the tables and the code of a real module: each is reported where it is, and nothing else.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { type Agreement, diffOrc, type Judge } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';

const FILE = 'klpdemo_target.ko';
const IBT = `ibt/${FILE}`;
const ENDBR64_SIZE = 4;
const bytes = Uint8Array.from(readFileSync(new URL(`../../fixtures/modules/${FILE}`, import.meta.url)));

function diff(elf: ElfObject, judge?: Judge): Agreement {
  return diffOrc(createOrc(inputFromElf(elf, X86_64.code)), readOrc(elf, X86_64.code.orc) as OrcRows, judge);
}

/** The module with one entry changed. */
function planted(entry: number, change: (view: DataView, at: number) => void): ElfObject {
  const copy = Uint8Array.from(bytes);
  const orc = parseElf(copy, FILE, X86_64.elf).section('.orc_unwind');
  change(new DataView(copy.buffer), (orc?.offset ?? 0) + entry * 6);
  return parseElf(copy, FILE, X86_64.elf);
}

const original = readOrc(parseElf(bytes, FILE, X86_64.elf), X86_64.code.orc) as OrcRows;
const entries = Array.from({ length: original.count }, (_, i) => i);
/** Of several at one place only the last counts, and a section's last is past its end. */
const counts = (i: number): boolean =>
  original.section[i] === original.section[i + 1] && original.offset[i] < original.offset[i + 1];

describe('a table that was tampered with', () => {
  test('is found out at every single entry, and only there', () => {
    for (const i of entries.filter(counts)) {
      const { differences } = diff(
        planted(i, (view, at) => view.setInt16(at, view.getInt16(at, true) ^ 8, true)),
      );
      const undefinedEntry = (original.flags[i] & 0xf) === 0;
      if (undefinedEntry) expect(differences).toEqual([]);
      else {
        expect(differences.map((d) => [d.start, d.end])).toEqual([
          [original.offset[i], original.offset[i + 1]],
        ]);
      }
    }
  });

  test('is compared by what it says for text, not by its bytes', () => {
    // The same answers in entries of another order.
    const rows = entries.toReversed();
    const turned: OrcRows = {
      count: original.count,
      section: original.section.map((_, i) => original.section[rows[i]]),
      offset: original.offset.map((_, i) => original.offset[rows[i]]),
      spOffset: original.spOffset.map((_, i) => original.spOffset[rows[i]]),
      fpOffset: original.fpOffset.map((_, i) => original.fpOffset[rows[i]]),
      flags: original.flags.map((_, i) => original.flags[rows[i]]),
    };
    expect(
      diffOrc(createOrc(inputFromElf(parseElf(bytes, FILE, X86_64.elf), X86_64.code)), turned).differences,
    ).toEqual([]);
  });

  test('counts functions and instructions that agree', () => {
    const whole = diff(parseElf(bytes, FILE, X86_64.elf));
    expect(whole.functions.same).toBe(whole.functions.total);
    expect(whole.instructions.same).toBe(whole.instructions.total);
    expect(whole.instructions.total).toBeGreaterThan(200);
    const first = entries.find((i) => counts(i) && original.flags[i] !== 0) ?? 0;
    const one = diff(planted(first, (view, at) => view.setInt16(at, 0x100, true)));
    expect(one.functions).toEqual({ total: whole.functions.total, same: whole.functions.total - 1 });
    expect(one.instructions.same).toBeLessThan(whole.instructions.same);
  });

  test('is wrong, or we are, by the word of execution', () => {
    const first = entries.find((i) => counts(i) && original.flags[i] !== 0) ?? 0;
    const elf = planted(first, (view, at) => view.setInt16(at, 0x100, true));
    const judge =
      (ours: 'right' | 'wrong', theirs: 'right' | 'wrong'): Judge =>
      (_, offset) => ({ offset, truth: 'known', ours, theirs });
    expect(diff(elf).differences[0].class).toBe('open');
    expect(diff(elf, judge('right', 'wrong')).differences[0].class).toBe('theirs wrong');
    expect(diff(elf, judge('wrong', 'right')).differences[0].class).toBe('ours wrong');
    expect(diff(elf, judge('right', 'wrong')).differences[0].proof).toMatchObject({ truth: 'known' });
    expect(diff(elf).differences[0].proof).toBe('was not asked');
  });
});

describe('code that was tampered with', () => {
  test('a push that has become something else is found from there on', () => {
    const elf = parseElf(bytes, FILE, X86_64.elf);
    const { code } = createOrc(inputFromElf(elf, X86_64.code));
    const text = elf.section('.text');
    if (!text) throw new Error('no .text');
    let found = 0;
    for (let insn = code.firstOf[text.index]; insn < code.endOf[text.index]; insn++) {
      const at = code.offset[insn];
      const opcode = bytes[text.offset + at];
      const isPush = code.length[insn] === 1 && opcode >= 0x50 && opcode < 0x58;
      // In a function with a frame pointer a push changes nothing.
      const matters = entries.some(
        (i) => original.section[i] === text.index && original.offset[i] === at + 1,
      );
      if (!isPush || !matters) continue;
      const copy = Uint8Array.from(bytes);
      copy[text.offset + at] = 0x90;
      const { differences } = diff(parseElf(copy, FILE, X86_64.elf));
      expect(differences[0]?.section).toBe('.text');
      expect(differences[0]?.start).toBe(at + 1);
      found++;
    }
    expect(found).toBeGreaterThan(5);
  });

  test('a function that its table is silent about is put down to the source', () => {
    const elf = parseElf(bytes, FILE, X86_64.elf);
    const result = createOrc(inputFromElf(elf, X86_64.code));
    const { symbols } = result.code.input;
    const func = result.code.funcs.find((f) => symbols.size[f] > 32) ?? 0;
    const inside = (i: number): boolean =>
      original.section[i] === symbols.section[func] &&
      original.offset[i] >= symbols.value[func] &&
      original.offset[i] < symbols.value[func] + symbols.size[func];
    const silent = { ...original, flags: original.flags.map((f, i) => (inside(i) ? 0 : f)) };
    const { differences, functions } = diffOrc(result, silent);
    expect(functions.same).toBe(functions.total - 1);
    for (const d of differences) expect(d.class).toBe('information no longer in the object');
  });

  test.each([
    ['', FILE],
    [', also the endbr64 before its fentry site', IBT],
  ])('a weak function that has lost its symbol keeps its entries%s', (_, file) => {
    const bytes = Uint8Array.from(readFileSync(new URL(`../../fixtures/modules/${file}`, import.meta.url)));
    const elf = parseElf(bytes, file, X86_64.elf);
    const result = createOrc(inputFromElf(elf, X86_64.code));
    const { symbols } = result.code.input;
    const symtab = elf.symtab;
    const sites = elf.relocations(elf.section('__mcount_loc')?.index ?? 0);
    let tried = 0;
    for (const { symbol, addend } of sites) {
      const site = Number(symbol.value + addend);
      const func = result.code.funcs.find(
        (f) =>
          symbols.section[f] === symbol.section?.index &&
          (symbols.value[f] === site || symbols.value[f] === site - ENDBR64_SIZE),
      );
      if (func === undefined || !symtab) continue;
      const copy = Uint8Array.from(bytes);
      copy[symtab.offset + func * 24 + 4] &= 0xf0;
      const without = parseElf(copy, file, X86_64.elf);
      expect(diff(without).differences).toEqual([]);
      tried++;
    }
    expect(tried).toBeGreaterThan(3);
  });
});
