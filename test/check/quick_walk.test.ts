// Instructions that are executed one behind the other, without asking, against each one by itself.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { RUN_OTHER, RUN_PLAIN } from '../../src/arch/checking.ts';
import { CheckCore } from '../../src/arch/x86_64/check/core.ts';
import { INSNS } from '../../src/arch/x86_64/check/insns.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { CheckGuest, ENTRY_SP, STACK_HALF, TEXT_BASE, TEXT_LO } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { ObjectCheck } from '../../src/check/verdicts.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import type { OrcRows } from '../../src/objtool/orc_rows.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');
const PATHS = [
  ...readdirSync(join(FIXTURES, 'modules'))
    .filter((file) => /^klpdemo_(target|patch_both|patch_vmlinux|locks|heap|fault).ko$/.test(file))
    .map((file) => join(FIXTURES, 'modules', file)),
  join(FIXTURES, 'objects/hard/hard.o'),
  join(FIXTURES, 'objects/frames/frames.o'),
];
const elfOf = (path: string) => parseElf(Uint8Array.from(readFileSync(path)), path, X86_64.elf);
const rowsOf = (path: string) => readOrc(elfOf(path), X86_64.code.orc);

const quick = new CheckGuest(new CheckCore());
const oneByOne = new CheckGuest(Object.defineProperty(new CheckCore(), 'straightRun', { value: undefined }));
afterAll(() => {
  quick.close();
  oneByOne.close();
});

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);
const check = (guest: CheckGuest, path: string, orc: OrcRows): ObjectCheck =>
  new ObjectChecker(guest, elfOf(path), { unwinder: 'orc', orc }).check();

/** Some rows say a number that is not theirs. */
function damaged(rows: OrcRows, nth: number): OrcRows {
  const spOffset = rows.spOffset.map((offset, row) => (row % nth === 1 ? offset + 8 : offset));
  const fpOffset = rows.fpOffset.map((offset, row) => (row % nth === 2 ? offset - 8 : offset));
  return { ...rows, spOffset, fpOffset };
}

describe('a walk that does not ask', () => {
  for (const path of PATHS) {
    const rows = rowsOf(path);
    if (!rows) continue;
    it(`reports of ${path.split('/').at(-1)} what one does that asks at each instruction`, () => {
      for (const orc of [rows, damaged(rows, 3), damaged(rows, 17)])
        expect(check(quick, path, orc)).toEqual(check(oneByOne, path, orc));
    });
  }

  it('finds what was damaged', () => {
    const path = join(FIXTURES, 'modules/klpdemo_target.ko');
    const { wrong, unreliable } = check(quick, path, damaged(rowsOf(path) as OrcRows, 3));
    expect(wrong + unreliable).toBeGreaterThan(0);
  });
});

describe('an instruction that may stand in a run', () => {
  const { context, engine, words } = quick;
  const opcode = fc.oneof(
    fc.integer({ min: 0, max: 0xff }).map((byte) => [byte]),
    fc.integer({ min: 0, max: 0xff }).map((byte) => [0x0f, byte]),
  );
  const code = fc
    .tuple(
      fc.constantFrom([], [0x48], [0x4d], [0x44], [0x41], [0x66], [0x40], [0xf0]),
      opcode,
      fc.uint8Array({ minLength: 12, maxLength: 12 }),
    )
    .map(([prefix, bytes, rest]) => Uint8Array.from([...prefix, ...bytes, ...rest]));
  const registers = fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { minLength: 16, maxLength: 16 });

  it('writes no register that it is not said to write, and nothing of the frame or the stack', () => {
    const insn = INSNS.newInsn();
    let tried = 0;
    fc.assert(
      fc.property(code, registers, (bytes, values) => {
        INSNS.decode(bytes, 0, TEXT_LO, insn);
        if (insn.length === 0 || INSNS.runKind(insn) === RUN_OTHER) return;
        quick.loadText(bytes);
        quick.prepare(ENTRY_SP - 0x1000);
        values.forEach((value, register) => {
          context.regs[register] = value;
        });
        context.regs[X86_64.checking.registers.sp.number] = (BigInt(STACK_HALF) << 32n) | BigInt(ENTRY_SP);
        context.touch();
        if (INSNS.storesOn(insn, context.halves, STACK_HALF) !== 0) return;
        const [before, stack] = [context.regs.slice(0, 16), words.slice()];
        if (engine.step(context, insn, bytes, 0, TEXT_BASE) !== undefined) return;
        tried++;
        const writes = INSNS.writes(insn);
        const changed = [...before.keys()].filter((register) => context.regs[register] !== before[register]);
        expect(changed.filter((register) => (writes & (1 << register)) === 0)).toEqual([]);
        const { sp, fp } = X86_64.checking.registers;
        expect(changed).not.toContain(sp.number);
        expect(changed).not.toContain(fp.number);
        if (INSNS.runKind(insn) === RUN_PLAIN) expect(Buffer.compare(bytesOf(words), bytesOf(stack))).toBe(0);
      }),
      { numRuns: 2000 },
    );
    expect(tried).toBeGreaterThan(200);
  });
});
