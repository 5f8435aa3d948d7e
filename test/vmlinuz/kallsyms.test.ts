// kallsyms found in a stripped kernel by their shape, in each layout that kernels have had.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { type Kallsyms, readKallsyms } from '../../src/vmlinuz/kallsyms.ts';
import { LinkedKernel } from '../../src/vmlinuz/linked_kernel.ts';
import { kallsymsBytes, LAYOUTS, type Layout, type Listed } from './kallsyms_bytes.ts';
import { linkedElf } from './linked_elf.ts';

const TEXT = 0xffffffff81000000n;
const RODATA = 0xffffffff82000000n;
const AX = 6;
const A = 2;
const names = Object.keys(LAYOUTS) as Layout[];

/** 700 functions: three markers. */
const SYMBOLS: readonly Listed[] = [
  { address: TEXT, type: 'T', name: '_text' },
  { address: TEXT, type: 'T', name: '_stext' },
  ...Array.from({ length: 700 }, (_, i) => ({
    address: TEXT + BigInt(i * 16),
    type: i % 3 === 0 ? 't' : 'T',
    name: `function_${i}_${'x'.repeat(i % 200)}`,
  })),
  { address: RODATA, type: 'D', name: '__start_table' },
];
const PER_CPU: readonly Listed[] = [
  { address: 0n, type: 'A', name: 'fixed_percpu_data' },
  { address: 0x1a0c0n, type: 'A', name: 'current_task' },
];
const symbolsOf = (layout: Layout): readonly Listed[] =>
  LAYOUTS[layout].includes('per-CPU') || layout === '2.6' ? [...PER_CPU, ...SYMBOLS] : SYMBOLS;

function kernelWith(rodata: Uint8Array): LinkedKernel {
  const bytes = linkedElf([
    { name: '.text', address: TEXT, flags: AX, bytes: new Uint8Array(0x3000) },
    { name: '.rodata', address: RODATA, flags: A, bytes: rodata },
  ]);
  return new LinkedKernel(bytes, 'vmlinux', X86_64.elf);
}

const listed = (found: Kallsyms | undefined): Listed[] =>
  Array.from({ length: found?.count ?? 0 }, (_, i) => ({
    address: (BigInt(found?.high[i] ?? 0) << 32n) | BigInt(found?.low[i] ?? 0),
    type: String.fromCharCode(found?.types[i] ?? 0),
    name: found?.name(i) ?? '',
  }));

describe.each(names)('kallsyms as kernels from %s on have them', (layout) => {
  it('are read whole: addresses, types, names of more than 127 bytes', () => {
    const symbols = symbolsOf(layout);
    const found = readKallsyms(kernelWith(kallsymsBytes(symbols, layout, RODATA).bytes));
    expect(found?.encoding).toBe(LAYOUTS[layout]);
    expect(listed(found)).toEqual(symbols);
  });

  it('are read or refused with any of their bytes changed, and never outside of them', () => {
    const symbols = symbolsOf(layout).slice(0, 40);
    const { bytes } = kallsymsBytes(symbols, layout, RODATA);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const changed = bytes.slice();
        changed[at] = value;
        try {
          const found = readKallsyms(kernelWith(changed));
          for (const { name } of listed(found)) expect(name.length).toBeLessThan(70_000);
        } catch (error) {
          expect(error).toMatchObject({
            code: 'ENOEXEC',
            message: expect.stringMatching(/^vmlinux: kallsyms/),
          });
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('kallsyms that cannot be read', () => {
  it('are told apart from none', () => {
    expect(readKallsyms(kernelWith(new Uint8Array(5000)))).toBeUndefined();
  });

  it('without addresses that fit their names are an error with its place', () => {
    const { bytes, offsets } = kallsymsBytes(SYMBOLS, '6.15', RODATA);
    new DataView(bytes.buffer).setInt32(offsets + 400, 0x7fffffff, true);
    expect(() => readKallsyms(kernelWith(bytes))).toThrow(
      /^vmlinux: kallsyms cannot be read: no addresses to the names \(section \.rodata, offset 0x/,
    );
  });

  it('whose start of text is nowhere near text are an error', () => {
    const moved = SYMBOLS.map((one) => ({ ...one, address: one.address + 0x100000n }));
    expect(() => readKallsyms(kernelWith(kallsymsBytes(moved, '6.15', RODATA).bytes))).toThrow(
      /no addresses/,
    );
  });

  it('whose names were cut are an error', () => {
    const { bytes, names: start } = kallsymsBytes(SYMBOLS, '6.15', RODATA);
    bytes[start] = 0;
    expect(() => readKallsyms(kernelWith(bytes))).toThrow(/no names before the tokens/);
  });
});
