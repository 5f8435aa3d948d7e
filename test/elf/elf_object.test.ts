import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import {
  SHT_NOBITS,
  STB_GLOBAL,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
  STT_OBJECT,
} from '../../src/elf/constants.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { ElfError } from '../../src/elf/error.ts';
import { readModInfo } from '../../src/elf/modinfo.ts';
import { readThisModule, undefinedSymbols } from '../../src/elf/module_object.ts';

const OBJECTS = join(import.meta.dirname, '../../fixtures/objects');
const MODULES = join(import.meta.dirname, '../../fixtures/modules');

const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(OBJECTS, name)));
const parse = (name: string): ElfObject => parseElf(read(name), name, X86_64.elf);

function failure(fn: () => unknown): ElfError {
  try {
    fn();
  } catch (error) {
    if (error instanceof ElfError) return error;
    throw error;
  }
  throw new Error('no error');
}

/** The bytes with some of them replaced, at offsets of the ELF header or a section header. */
function patched(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(values, at);
  return copy;
}

describe('a relocatable object', () => {
  it('is for the machine that is asked for: another one finds it foreign, and both are named', () => {
    const other = { number: 183, relocations: new Map() };
    const bytes = read('relocations.o');
    const error = failure(() => parseElf(bytes, 'a.o', other));
    expect(error.reason).toBe('Invalid architecture in ELF header: 62');
    expect(error.message).toContain('an ELF file for x86-64 (64-bit); objects for AArch64 are meant');
    expect(parseElf(patched(bytes, 18, 183, 0), 'a.o', other).machine).toBe(other);
  });

  const elf = parse('relocations.o');

  it('gives its sections by name with the bytes that the assembler put there', () => {
    const rodata = elf.section('.rodata');
    expect(rodata && Buffer.from(elf.data(rodata)).toString()).toBe('read only\0');
    expect(elf.section('.nothing')).toBeUndefined();
  });

  it('gives .bss its size and no bytes', () => {
    const bss = elf.section('.bss');
    expect(bss).toMatchObject({ type: SHT_NOBITS, size: 0x1000, align: 8 });
    expect(bss && elf.data(bss).length).toBe(0);
  });

  it('gives symbols with section, value, size, type and binding', () => {
    expect(elf.symbol('entry')).toMatchObject({ value: 0n, type: STT_FUNC, bind: STB_GLOBAL });
    expect(elf.symbol('entry')?.section?.name).toBe('.text');
    expect(elf.symbol('helper')).toMatchObject({ type: STT_FUNC, bind: STB_LOCAL });
    expect(elf.symbol('table')).toMatchObject({ size: 24, type: STT_OBJECT });
    expect(elf.symbol('counter')?.size).toBe(0x1000);
  });

  it('lists the symbols it needs from elsewhere, weak ones too', () => {
    const names = undefinedSymbols(elf).map((s) => s.name);
    expect(names.sort()).toEqual(['external_data', 'external_function', 'optional']);
    expect(elf.symbols.find((s) => s.name === 'optional')?.bind).toBe(STB_WEAK);
  });

  it('gives the relocations of a section with symbol and addend', () => {
    const text = elf.section('.text');
    const list = elf.relocations(text?.index ?? 0).map((r) => [r.type, elf.symbolLabel(r.symbol), r.addend]);
    expect(list).toContainEqual([4, 'external_function', -4n]);
    expect(list).toContainEqual([2, 'external_data', -4n]);
    expect(list).toContainEqual([11, '.rodata', 0n]);
    expect(list).toContainEqual([10, '.rodata', 0n]);
  });

  it('accepts a relocation that writes nothing at the very end of a section', () => {
    const data = elf.section('.data');
    const list = elf.relocations(data?.index ?? 0).map((r) => [r.offset, r.type]);
    expect(list).toEqual([
      [0, 1],
      [8, 1],
      [16, 24],
      [24, 0],
    ]);
  });

  it('reads a string only as far as its section goes', () => {
    const rodata = elf.section('.rodata');
    if (!rodata) throw new Error('no .rodata');
    expect(elf.stringAt(rodata, 5)).toBe('only');
    expect(failure(() => elf.stringAt(rodata, 10)).message).toContain('section .rodata, offset 0xa');
  });
});

it('gives data whose slice() is a copy, also of a Buffer', () => {
  const file = Buffer.from(read('relocations.o'));
  const object = parseElf(file, 'relocations.o', X86_64.elf);
  const text = object.section('.text');
  if (!text) throw new Error('no .text');
  object.data(text).slice().fill(0xa5);
  expect(Buffer.compare(file, read('relocations.o'))).toBe(0);
});

describe('a file that is no object of ours', () => {
  const good = read('relocations.o');
  const shoff = Number(new DataView(good.buffer).getBigUint64(40, true));
  const header = (index: number, field: number): number => shoff + index * 64 + field;

  it.each([
    ['empty', new Uint8Array(0), 'Invalid ELF header len 0'],
    ['short', good.slice(0, 63), 'Invalid ELF header len 63'],
    ['text', new TextEncoder().encode('#!/bin/sh\n'.repeat(10)), 'Invalid ELF header magic: != \u007fELF'],
    ['for i386', read('foreign-i386.o'), 'not a 64-bit ELF file (class 1)'],
    ['big-endian', patched(good, 5, 2), 'not a little-endian ELF file (data encoding 2)'],
    ['for AArch64', patched(good, 18, 183), 'Invalid architecture in ELF header: 183'],
    ['an executable', patched(good, 16, 2), 'Invalid ELF header type: 2 != 1'],
    ['of odd section headers', patched(good, 58, 40), 'Invalid ELF section header size'],
    ['truncated', read('truncated.o'), 'Invalid ELF section header overflow'],
    ['without section names', patched(good, 62, 0), 'Invalid ELF section name index: 0 ||'],
    ['with a live section 0', patched(good, header(0, 4), 1), 'ELF Spec violation: section 0 type(1)'],
    [
      'with a section beyond the end',
      patched(good, header(1, 32), 255, 255),
      'Invalid ELF section in module',
    ],
    ['with an alignment of 3', patched(good, header(1, 48), 3), 'section 1 has an alignment of 3'],
    ['with a .bss of 2^56 bytes', patched(good, header(5, 39), 1), 'section 5 claims'],
  ])('%s is refused in the words of elf_validity_check', (_what, bytes, reason) => {
    const error = failure(() => parseElf(bytes, 'bad.ko', X86_64.elf));
    expect(error.reason).toContain(reason);
    expect(error).toMatchObject({ code: 'ENOEXEC', file: 'bad.ko' });
  });

  it('a stripped object parses, without symbols', () => {
    const elf = parse('stripped.o');
    expect(elf.symtab).toBeUndefined();
    expect(elf.symbols).toEqual([]);
  });

  it('names the place of a relocation that lies outside its section', () => {
    const elf = parseElf(good, 'a.o', X86_64.elf);
    const rela = elf.relaSections[0];
    const bytes = patched(good, rela.offset, 0xff, 0xff);
    const error = failure(() => parseElf(bytes, 'a.o', X86_64.elf).relocationTable(rela.index));
    expect(error).toMatchObject({ section: '.rela.text', offset: 0 });
    expect(error.reason).toBe('relocation at 0xffff, outside .text');
  });
});

describe('any bytes at all', () => {
  const corpus = [
    ...readdirSync(OBJECTS)
      .filter((f) => f.endsWith('.o'))
      .map((f) => join(OBJECTS, f)),
    ...readdirSync(MODULES)
      .filter((f) => f.endsWith('.ko'))
      .map((f) => join(MODULES, f)),
  ].map((path) => new Uint8Array(readFileSync(path)));

  /** Reads everything that can be read. */
  function readAll(bytes: Uint8Array): void {
    const elf = parseElf(bytes, 'fuzz', X86_64.elf);
    for (const section of elf.sections) elf.data(section);
    for (const symbol of elf.symbols) elf.symbolLabel(symbol);
    for (const rela of elf.relaSections) elf.relocationTable(rela.index);
    readModInfo(elf);
    readThisModule(elf, { name: 24, init: 312, exit: 728, nameLength: 56 });
  }

  const u64 = fc.oneof(fc.bigInt(0n, 0xffffn), fc.bigInt(0n, (1n << 64n) - 1n));

  it('either parse or throw ElfError, whatever was changed in a real file', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...corpus),
        fc.array(fc.tuple(fc.nat(), u64, fc.constantFrom(1, 2, 4, 8), fc.boolean()), { maxLength: 8 }),
        fc.option(fc.nat(), { freq: 6 }),
        (original, edits, cut) => {
          const bytes = original.slice(0, cut === null ? undefined : cut % original.length);
          const shoff =
            original.length > 64 ? Number(new DataView(original.buffer).getBigUint64(40, true)) : 0;
          for (const [where, value, width, inHeaders] of edits) {
            // Half of the edits hit the headers, which are a small part of a file.
            const at = inHeaders
              ? where % 2
                ? where % 64
                : shoff + (where % 4096)
              : where % original.length;
            for (let i = 0; i < width; i++) {
              if (at + i < bytes.length) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
            }
          }
          try {
            readAll(bytes);
          } catch (error) {
            if (!(error instanceof ElfError)) throw error;
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('parse or throw when they are not even based on one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        if (bytes.length >= 8) bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]);
        expect(() => readAll(bytes)).toThrow(ElfError);
      }),
    );
  });
});
