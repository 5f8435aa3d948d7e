// The rows of an object's tables have the size that its kernel had them in: found by the object itself.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';

const read = (file: string): ElfObject =>
  parseElf(
    Uint8Array.from(readFileSync(new URL(`../../fixtures/objects/rows/${file}`, import.meta.url))),
    file,
    X86_64.elf,
  );

/** Bytes from the stack pointer to the caller's at an offset of a function, by our table; 0 for no answer. */
function answer(elf: ElfObject, name: string, at: number, format?: '7.2'): number {
  const { rows } = createOrc(inputFromElf(elf, X86_64.code, format));
  const offset = Number(elf.symbol(name)?.value) + at;
  let found = 0;
  for (let i = 0; i < rows.count; i++) if (rows.offset[i] <= offset) found = i;
  return rows.flags[found] & 0xf ? rows.spOffset[found] : 0;
}

describe.each(['8-12', '12-12', '12-14', '16-14'])('rows of %s bytes', (sizes) => {
  const elf = read(`rows-${sizes}.o`);

  it('of __bug_table say that execution goes on behind a warning, and not behind a bug', () => {
    expect(answer(elf, 'warns', 3)).toBe(16);
    expect(answer(elf, 'dies', 3)).toBe(0);
  });

  it('of .altinstructions say what replaces what', () => {
    expect([0, 1, 2, 3, 5].map((at) => answer(elf, 'replaced', at))).toEqual([8, 16, 16, 8, 8]);
  });
});

it('rows of __bug_table of 12 bytes have their flags before the padding from 7.x on, where no names of files are', () => {
  const elf = read('rows-12-12.o');
  const bytes = Uint8Array.from(elf.bytes);
  const { offset, size } = elf.section('__bug_table') ?? { offset: 0, size: 0 };
  const view = new DataView(bytes.buffer);
  for (let row = offset; row < offset + size; row += 12) {
    view.setUint16(row + 8, view.getUint16(row + 10, true), true);
    view.setUint16(row + 10, 0, true);
  }
  const later = parseElf(bytes, 'x.o', X86_64.elf);
  expect(answer(later, 'warns', 3, '7.2')).toBe(16);
  expect(answer(later, 'dies', 3, '7.2')).toBe(0);
});

it.each([
  ['__bug_table', 4],
  ['.altinstructions', 10],
])('rows of %s of no size that a kernel had are an error', (name, size) => {
  const elf = read('rows-12-12.o');
  const bytes = Uint8Array.from(elf.bytes);
  const header = elf.header.shoff + (elf.section(name)?.index ?? 0) * 64;
  // A whole row more than there is would be another error: the last is cut.
  new DataView(bytes.buffer).setUint32(header + 32, (elf.section(name)?.size ?? 0) - 12 + size, true);
  expect(() => inputFromElf(parseElf(bytes, 'x.o', X86_64.elf), X86_64.code)).toThrow(
    new RegExp(`x\\.o: (rows of no known size|relocation outside its section).*${name.replace('.', '\\.')}`),
  );
});
