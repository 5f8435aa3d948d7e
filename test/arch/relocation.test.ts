import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyRelocation,
  clearRelocation,
  relocationTypeName,
} from '../../src/arch/x86_64/module/relocation.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { RelocationError } from '../../src/elf/error.ts';

const BASE = 0xffffffffc0201000n;
const site = (type: number, offset = 0) => ({
  file: 'm.ko',
  section: '.text',
  offset,
  type,
  symbol: 'target',
});

function apply(type: number, value: bigint, bytes = new Uint8Array(8)): Uint8Array {
  applyRelocation(new DataView(bytes.buffer), 0, BASE, value, site(type));
  return bytes;
}

function failure(fn: () => unknown): RelocationError {
  try {
    fn();
  } catch (error) {
    if (error instanceof RelocationError) return error;
    throw error;
  }
  throw new Error('no error');
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('relocation types', () => {
  it.each([
    ['R_X86_64_NONE', 0, 0x1234n, '0000000000000000'],
    ['R_X86_64_64', 1, 0xffffffff81000010n, '10000081ffffffff'],
    ['R_X86_64_PC32', 2, 0xffffffff81000010n, '10f0dfc000000000'],
    ['R_X86_64_PLT32', 4, BASE - 4n, 'fcffffff00000000'],
    ['R_X86_64_32', 10, 0x80000000n, '0000008000000000'],
    ['R_X86_64_32S', 11, 0xffffffff81000010n, '1000008100000000'],
    ['R_X86_64_PC64', 24, 0xffffffff81000010n, '10f0dfc0ffffffff'],
  ])('%s writes what the psABI says', (name, type, value, expected) => {
    expect(relocationTypeName(type)).toBe(name);
    expect(hex(apply(type, value))).toBe(expected);
  });

  it.each([
    [10, 0xffffffff81000010n, 'overflow in relocation type 10 val ffffffff81000010'],
    [11, 0x80000000n, 'overflow in relocation type 11 val 80000000'],
    [2, 0xffff888000000000n, 'overflow in relocation type 2 val ffff88803fdff000'],
  ])('type %i that does not fit is refused with nothing written', (type, value, reason) => {
    const bytes = new Uint8Array(8);
    const error = failure(() => apply(type, value, bytes));
    expect(error.reason).toBe(reason);
    expect(hex(bytes)).toBe('0000000000000000');
  });

  it('a target that is not zero is refused with the address and the value', () => {
    const error = failure(() => apply(1, 0x1234n, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)));
    expect(error.reason).toBe(
      'x86/modules: Skipping invalid relocation target, existing value is nonzero for type 1, ' +
        'loc ffffffffc0201000, val 1234',
    );
  });

  it('a type that the kernel does not apply is named, with section, offset and symbol', () => {
    const error = failure(() => apply(9, 0n));
    expect(error.reason).toBe('Unknown rela relocation: 9');
    expect(error).toMatchObject({
      section: '.text',
      offset: 0,
      symbol: 'target',
      typeName: 'R_X86_64_GOTPCREL',
    });
    expect(error.message).toBe(
      "m.ko: Unknown rela relocation: 9 (section .text, offset 0x0): R_X86_64_GOTPCREL against symbol 'target'",
    );
  });

  it('a write that would leave the section is refused', () => {
    const view = new DataView(new ArrayBuffer(8));
    expect(() => applyRelocation(view, 1, BASE + 1n, 0n, site(1, 1))).toThrow('runs out of its section');
  });

  it('the GOTPCREL of the fixture is found with its own name', () => {
    const path = join(import.meta.dirname, '../../fixtures/objects/unsupported-relocation.o');
    const elf = parseElf(new Uint8Array(readFileSync(path)), 'got.o', X86_64.elf);
    const [only] = elf.relocations(elf.section('.text')?.index ?? 0);
    expect([relocationTypeName(only.type), only.symbol.name]).toEqual(['R_X86_64_GOTPCREL', 'somewhere']);
  });

  it('clearing takes back exactly what applying wrote', () => {
    const wide = fc.bigInt(0n, (1n << 64n) - 1n);
    fc.assert(
      fc.property(
        fc.constantFrom(...X86_64.elf.relocations.keys()),
        wide,
        fc.nat(20),
        (type, value, offset) => {
          const bytes = new Uint8Array(32);
          const view = new DataView(bytes.buffer);
          try {
            applyRelocation(view, offset, BASE + BigInt(offset), value, site(type, offset));
          } catch (error) {
            if (!(error instanceof RelocationError)) throw error;
          }
          clearRelocation(view, offset, type);
          expect(bytes.every((b) => b === 0)).toBe(true);
        },
      ),
    );
  });
});
