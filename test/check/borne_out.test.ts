// Objects before the last link do not say how their ORC entries are laid out: what execution says of each reading.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { formatBorneOut } from '../../src/check/borne_out.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { possibleOrcFormats } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import { writeOrc } from '../../src/objtool/orc_write.ts';
import { checkGuest } from './guest.ts';

const ORC = X86_64.code.orc;
const OBJECTS = new URL('../../fixtures/objects/', import.meta.url);
const read = (file: string) => parseElf(readFileSync(new URL(file, OBJECTS)), file, X86_64.elf);

describe('the format of an object that does not tell', () => {
  const guest = checkGuest();
  const told = (elf: ReturnType<typeof read>) =>
    formatBorneOut(guest, elf, ORC, possibleOrcFormats(elf, ORC));

  it.each([
    ['annotated/annotated-6.12.o', '6.4', ['6.4', '7.2']],
    ['annotated/annotated-7.3.o', '7.2', ['6.4', '7.2']],
  ])('%s is the one that execution bears out', (file, format, possible) => {
    const elf = read(file);
    expect(possibleOrcFormats(elf, ORC)).toEqual(possible);
    const known = told(elf);
    expect(known).toMatchObject({ format, by: 'execution' });
    const { asked, right } = known?.borneOut ?? { asked: 0, right: {} };
    expect(asked).toBeGreaterThan(20);
    expect(Object.values(right).sort()).toEqual([0, asked]);
  });

  it('is not asked for where the object tells, or only one is possible', () => {
    expect(possibleOrcFormats(read('../modules/klpdemo_target.ko'), ORC)).toEqual([]);
    expect(told(read('frames/frames.o'))).toBeUndefined();
  });

  it('is none where no reading is borne out', () => {
    const elf = read('annotated/annotated-6.12.o');
    const { rows } = createOrc(inputFromElf(elf, X86_64.code, '6.4'));
    const spOffset = rows.spOffset.map((n) => n + 24);
    const copy = parseElf(
      Buffer.concat(writeOrc(elf, { ...rows, spOffset }, '6.4', X86_64.code)),
      'x.o',
      X86_64.elf,
    );
    expect(told(copy)).toBeUndefined();
  });
});
