// Hand-written code of a kernel that the fixups of several functions lead to, named in kallsyms or not.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { KernelFile } from '../../src/vmlinuz/kernel_file.ts';
import { KIND_FUNCTION, KIND_LABEL } from '../../src/vmlinuz/symbols.ts';
import { entryKernel } from './entry_kernel.ts';

const rows = [{ at: 0, sp: 8, reg: 5, type: 0 }];
/** mov (%rax),%edx; ret, and an int3 behind it, which is its own. */
const READS = [0x8b, 0x10, 0xc3];
/** xor %edx,%edx; ret */
const HANDLES = [0x31, 0xd2, 0xc3];
const FILLED = [0xcc, 0xcc, 0xcc, 0xcc, 0xcc];

function symbolsOf(bytes: Uint8Array): Record<string, [kind: number, size: number]> {
  const { symbols } = new KernelFile(bytes, 'vmlinuz', X86_64);
  const { count, names, kind, size } = symbols;
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [names.name(i), [kind[i], size[i]]]));
}

/** From which offsets of text on the stack pointer is found how far above; 0 for nowhere. */
function analysed(bytes: Uint8Array): number[][] {
  const elf = parseKernelObject(bytes, 'vmlinuz', X86_64);
  const { rows: found } = createOrc(inputFromElf(elf, X86_64.code, '6.1'));
  return Array.from({ length: found.count }, (_, i) => [found.offset[i], found.spOffset[i]]);
}

/** Pieces of text in which the return address is on top of the stack; of what is between them nothing is known. */
function reached(...pieces: readonly [from: number, to: number][]): number[][] {
  const rowsOf = pieces.flatMap(([from, to]) => [
    [from, 8],
    [to, 0],
  ]);
  return [...rowsOf, [Math.ceil((rowsOf.at(-1)?.[0] ?? 0) / 16) * 16, 0]];
}

describe('code that fixups of several functions lead to', () => {
  it('is of none of them where it has a name, and ends the one before it', () => {
    const kernel = entryKernel(
      [
        { name: 'reads_1', code: READS, rows },
        { name: 'reads_2', code: READS, rows },
        { name: 'handles', code: HANDLES, rows },
      ],
      [
        [0, 32],
        [16, 32],
      ],
    );
    expect(symbolsOf(kernel)).toMatchObject({
      reads_1: [KIND_FUNCTION, 4],
      reads_2: [KIND_FUNCTION, 4],
      handles: [KIND_LABEL, 0],
    });
    expect(analysed(kernel)).toEqual(reached([0, 3], [16, 19], [32, 35], [48, 49]));
  });

  it('returns by the thunk of returns as functions do', () => {
    // xor %edx,%edx; jmp __x86_return_thunk
    const kernel = entryKernel(
      [
        { name: 'reads_1', code: READS, rows },
        { name: 'reads_2', code: READS, rows },
        { name: 'handles', code: [0x31, 0xd2, 0xe9, 9, 0, 0, 0], rows },
        { name: '__x86_return_thunk', code: [0xc3], rows },
        // lea .rodata(%rip),%rax; ret: one that has a relocation, as some of every kernel's text.
        { name: 'refers', code: [0x48, 0x8d, 0x05, 0xb9, 0xff, 0x11, 0, 0xc3], rows },
      ],
      [
        [0, 32],
        [16, 32],
      ],
    );
    expect(analysed(kernel)).toEqual(reached([0, 3], [16, 19], [32, 39], [48, 49], [64, 72], [80, 81]));
  });

  it('is of none of them where it has no name', () => {
    const kernel = entryKernel(
      [
        { name: 'reads_1', code: READS, rows },
        { name: 'reads_2', code: [...READS, ...FILLED, ...HANDLES], rows },
      ],
      [
        [0, 24],
        [16, 24],
      ],
    );
    expect(symbolsOf(kernel)).toMatchObject({ reads_1: [KIND_FUNCTION, 4], reads_2: [KIND_FUNCTION, 4] });
    expect(analysed(kernel)).toEqual(reached([0, 3], [16, 19], [24, 27], [32, 33]));
  });

  it('is of none of them where its name stands behind what no-ops begin, which are filled in later', () => {
    // Both lead to three no-ops before the name: one that takes the lock off, in another form.
    const kernel = entryKernel(
      [
        { name: 'reads_1', code: READS, rows },
        { name: 'reads_2', code: [...READS, 0x90, 0x90, 0x90, ...HANDLES], rows },
      ],
      [
        [0, 19],
        [16, 19],
      ],
      { labels: { handles: 22 } },
    );
    expect(symbolsOf(kernel)).toMatchObject({ reads_2: [KIND_FUNCTION, 3], handles: [KIND_LABEL, 0] });
    expect(analysed(kernel)).toEqual(reached([0, 3], [16, 25], [32, 33]));
  });

  it('is of the function, and of what was split off from it, where nobody else has fixups there', () => {
    const code = [...READS, ...FILLED, ...HANDLES];
    const alone = entryKernel([{ name: 'reads', code, rows }], [[0, 8]]);
    expect(symbolsOf(alone).reads).toEqual([KIND_FUNCTION, 12]);
    const split = entryKernel(
      [
        { name: 'reads', code: READS, rows },
        { name: 'reads.cold', code, rows },
      ],
      [[0, 24]],
    );
    expect(symbolsOf(split)['reads.cold']).toEqual([KIND_FUNCTION, 12]);
  });
});
