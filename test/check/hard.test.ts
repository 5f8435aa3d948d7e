// Functions that are hard to follow: what is not looked at is told, and what comes behind it is looked at.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ORC_REG_R10 } from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import { whereaboutsText } from '../../src/check/saved_registers.ts';
import { type FunctionReport, isAllLookedAt, type ObjectCheck } from '../../src/check/verdicts.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { diffOrc } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';
import { checkGuest } from './guest.ts';

const FILE = 'hard.o';
const bytes = readFileSync(join(import.meta.dirname, '../../fixtures/objects/hard', FILE));
const original = parseElf(bytes, FILE, X86_64.elf);
const guest = checkGuest();

const offsetOf = (name: string): number => Number(original.symbols.find((s) => s.name === name)?.value);

/** The object with bytes written over those of its text. */
function withData(...data: readonly (readonly [symbol: string, offset: number, hex: string])[]) {
  const copy = Uint8Array.from(bytes);
  const text = original.section('.text')?.offset ?? 0;
  for (const [symbol, offset, hex] of data)
    copy.set(Buffer.from(hex, 'hex'), text + offsetOf(symbol) + offset);
  return parseElf(copy, FILE, X86_64.elf);
}

const check = (elf = original): ObjectCheck => new ObjectChecker(guest, elf, { unwinder: 'orc' }).check();
function functionOf(found: ObjectCheck, name: string): FunctionReport {
  const report = found.functions.find((f) => f.name === name);
  if (!report) throw new Error(`no ${name}`);
  return report;
}
const isRight = ({ instructions, right }: FunctionReport): boolean =>
  instructions > 0 && right === instructions;

/** add with a REX2 prefix: no instruction of these processors. */
const REX2_ADD = 'd54801c0';
/** The first constants of SHA-256; the first byte decodes, the second does not. */
const SHA256 = '982f8a4291443771cffbc0b5a5dbb5e95bc25639f111f159a4823f92d55e1cab';

describe('bytes that are no instruction', () => {
  const elf = withData(['broken', 1, REX2_ADD], ['table', 0, SHA256], ['over', 3, REX2_ADD]);

  it('are counted and named, and nothing of them is called looked at', () => {
    const { notLookedAt } = check(elf);
    expect(notLookedAt?.places).toEqual([
      { place: 'broken+0x1', bytes: offsetOf('behind') - offsetOf('broken') - 1 },
      { place: 'over+0x3', bytes: 8 },
      { place: '.text+0x51', bytes: offsetOf('uses_table') - offsetOf('table') - 1 },
    ]);
    expect(notLookedAt?.bytes).toBe(notLookedAt?.places.reduce((sum, at) => sum + at.bytes, 0));
    expect(isAllLookedAt(notLookedAt)).toBe(false);
  });

  it.each(['behind', 'uses_table', 'first'])('hide nothing of %s(), the function beside them', (name) => {
    const found = functionOf(check(elf), name);
    expect(isRight(found)).toBe(true);
    expect(found.instructions).toBe(functionOf(check(), name).instructions);
  });

  it('hide nothing of their own function where a jump goes over them', () => {
    const found = functionOf(check(elf), 'over');
    expect(found).toMatchObject({ instructions: 5, reached: 5, right: 5 });
  });

  it('end the path that runs into them, which is why nothing behind is reached', () => {
    const found = check(withData(['broken', 1, REX2_ADD]));
    expect(functionOf(found, 'broken')).toMatchObject({ instructions: 1, reached: 1 });
  });

  it('leave a function without any instruction that begins with them, and it is named', () => {
    const found = check(withData(['behind', 0, REX2_ADD]));
    expect(functionOf(found, 'behind').instructions).toBe(0);
    expect(found.notLookedAt?.functions).toEqual(['behind']);
    expect(isRight(functionOf(found, 'unaligned'))).toBe(true);
  });

  it('leave such a function without the ends of the one that was explored before it', () => {
    // first() jumps to the end of runs_on(), which runs into run_into().
    const found = check(withData(['first', 6, 'eb7c'], ['broken', 0, REX2_ADD]));
    expect(functionOf(found, 'broken')).toEqual(
      functionOf(check(withData(['broken', 0, REX2_ADD])), 'broken'),
    );
    expect(found.notLookedAt?.falls.map(({ name }) => name)).toEqual(['first', 'runs_on']);
  });

  it('have no entry in the table that is made, and the entry that another table has is open', () => {
    const result = createOrc(inputFromElf(elf, X86_64.code));
    const { differences } = diffOrc(result, readOrc(elf, X86_64.code.orc) as OrcRows);
    expect(new Set(differences.map((d) => `${d.class}: ${d.reason}`))).toEqual(
      new Set(['open: bytes that are no instruction']),
    );
    expect(new Set(differences.map((d) => d.place.replace(/\+.*/, '')))).toEqual(new Set(['broken']));
    expect(result.warnings).toContain(
      `can't decode instruction at .text:0x${(offsetOf('broken') + 1).toString(16)}`,
    );
  });

  it('are no part of a function that constants seem to reach into', () => {
    // The last byte begins an instruction that would be ten bytes long.
    const constants = withData(['table', 0, `${'90'.repeat(30)}48b8`]);
    const found = check(constants);
    expect(isRight(functionOf(found, 'uses_table'))).toBe(true);
    expect(found.notLookedAt?.places).toEqual([{ place: '.text+0x6e', bytes: 2 }]);
    expect(createOrc(inputFromElf(constants, X86_64.code)).warnings).toContain(
      "uses_table(): can't find starting instruction",
    );
  });
});

describe('a path', () => {
  const found = (): ObjectCheck => check();

  it('that runs into the next function is told of the one it leaves, and the next is judged by itself', () => {
    expect(found().notLookedAt?.falls).toEqual([{ name: 'runs_on', into: 'run_into' }]);
    expect(functionOf(found(), 'runs_on')).toMatchObject({ falls: ['run_into'], right: 2 });
    expect(isRight(functionOf(found(), 'run_into'))).toBe(true);
  });

  it('into the middle of another function does not stand for the own one of that function', () => {
    // By the way of the first no place is wrong.
    expect(isRight(functionOf(found(), 'jumps_in'))).toBe(true);
    expect(functionOf(found(), 'jumped_into')).toMatchObject({ instructions: 5, right: 2, wrong: 3 });
  });

  it('through stack pointers that are not aligned is followed, and wrong entries there are found', () => {
    expect(isRight(functionOf(found(), 'unaligned'))).toBe(true);
    const halves = functionOf(found(), 'halves');
    expect(halves).toMatchObject({ reached: halves.instructions, right: 1 });
    const inside = check().places.find(({ place }) => place === 'halves+0x8');
    expect(inside?.truth).toMatchObject({ prevSp: 20, returnAddress: 12, prevFp: 0 });
  });

  it('over an array of a size that nobody knows goes on', () => {
    expect(isRight(functionOf(found(), 'array'))).toBe(true);
  });

  it('onto another stack is not followed, and what lies behind is told', () => {
    const switches = functionOf(found(), 'switches');
    expect(switches.unseen).toBe(switches.instructions - switches.reached);
    expect(found().notLookedAt?.instructions).toBe(switches.unseen);
  });
});

describe('the truth', () => {
  it('of a register that is kept in another one names that one', () => {
    const kept = check().places.filter(({ place }) => place.startsWith('kept'));
    expect(kept.map(({ truth }) => whereaboutsText(truth.prevFp))).toEqual(['in r12', 'in r12']);
    expect(kept.map(({ truth }) => truth.saved.r12)).toEqual([0, 0]);
  });
});

describe('entries that go by another register than stack and frame pointer', () => {
  it('are wrong from where the register is another number, though nothing touched the stack', () => {
    // lea 0x8(%rsp),%r10; mov %ecx,%eax; xor %r10d,%r10d; mov %ecx,%eax; nop; ret
    const code = '4c8d54240889c84531d289c890c3';
    const elf = withData(['behind', 0, code]);
    const orc = readOrc(elf, X86_64.code.orc) as OrcRows;
    const [flags, spOffset] = [orc.flags.slice(), orc.spOffset.slice()];
    const text = elf.section('.text')?.index;
    const start = offsetOf('behind');
    orc.offset.forEach((at, row) => {
      if (orc.section[row] !== text || at < start || at >= start + code.length / 2) return;
      flags[row] = (flags[row] & ~0xf) | ORC_REG_R10;
      spOffset[row] = 0;
    });
    const found = new ObjectChecker(guest, elf, {
      unwinder: 'orc',
      orc: { ...orc, flags, spOffset },
    }).check();
    const places = found.places.map(({ place }) => place).filter((place) => place.startsWith('behind'));
    expect(places).toEqual(['0x0', '0xa', '0xc', '0xd'].map((at) => `behind+${at}`));
  });
});
