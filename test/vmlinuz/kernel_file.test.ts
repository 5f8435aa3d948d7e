// A kernel as it is installed, packed and stripped, read as the object with symbols that it was linked from.

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { layoutOf } from '../../src/btf/layout.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { ObjectCheck, Verdict } from '../../src/check/verdicts.ts';
import type { ElfObject } from '../../src/elf/elf_object.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { KernelFile } from '../../src/vmlinuz/kernel_file.ts';
import { KIND_FUNCTION, KIND_LABEL, KIND_MARK, KIND_OBJECT } from '../../src/vmlinuz/symbols.ts';
import { checkGuest } from '../check/guest.ts';
import { LAYOUTS, type Layout } from './kallsyms_bytes.ts';
import { PACKINGS } from './packed_kernel.ts';
import { SYMBOLS, smallImage, VMLINUX } from './small_image.ts';

let linked: ElfObject;
const guest = checkGuest();
beforeAll(() => {
  linked = parseKernelObject(Uint8Array.from(readFileSync(VMLINUX)), VMLINUX, X86_64);
});

const [RELIABLE, UNRELIABLE] = ['wrong, declared reliable', 'wrong, declared unreliable'] as const;
const check = (object: ElfObject): ObjectCheck =>
  new ObjectChecker(guest, object, { unwinder: 'orc' }).check();
const read = (bytes: Uint8Array): ElfObject => parseKernelObject(bytes, 'vmlinuz', X86_64);

/** Functions of an object with their sizes. */
const functionsOf = ({ symbols }: ElfObject): string[] =>
  symbols
    .filter(({ type }) => type === 2)
    .map(({ name, section, value, size }) => `${section?.name} ${value} ${size} ${name}`)
    .sort();

describe('the symbols of a stripped kernel', () => {
  it('are functions with the sizes that the linker had, labels, marks and objects', () => {
    const { symbols } = new KernelFile(smallImage(), 'vmlinuz', X86_64);
    const kinds = new Map(SYMBOLS.map(({ name }, i) => [name, symbols.kind[i]]));
    expect(kinds.get('leaf')).toBe(KIND_FUNCTION);
    expect(kinds.get('many.cold')).toBe(KIND_FUNCTION);
    expect(kinds.get('_etext')).toBe(KIND_MARK);
    expect(kinds.get('table')).toBe(KIND_OBJECT);
    // The symbol of a trampoline has no type there.
    expect(functionsOf(read(smallImage()))).toEqual(
      [...functionsOf(linked), '.text 880 31 return_trampoline'].sort(),
    );
  });

  it('are labels inside of a function where code runs on into them, and functions where it does not', () => {
    const at = (name: string): bigint => SYMBOLS.find((one) => one.name === name)?.address ?? 0n;
    const more = [
      { address: at('saves') + 2n, type: 't', name: 'saves_inside' },
      { address: at('crowded') + 8n, type: 'T', name: '.crowded_inside' },
    ];
    const { symbols } = new KernelFile(smallImage({ more }), 'vmlinuz', X86_64);
    const kinds = new Map(
      Array.from(symbols.kind, (kind, i) => [symbols.names.name(i), { kind, size: symbols.size[i] }]),
    );
    expect(kinds.get('saves_inside')).toEqual({ kind: KIND_LABEL, size: 0 });
    expect(kinds.get('.crowded_inside')).toEqual({ kind: KIND_LABEL, size: 0 });
    expect(kinds.get('saves')).toEqual({ kind: KIND_FUNCTION, size: 56 });
  });
});

describe('klpemu check and orc of a bzImage', () => {
  const layouts = Object.keys(LAYOUTS) as Layout[];
  it.each(PACKINGS.map((packing, i) => ({ packing, layout: layouts[i] })))(
    'say what they say of the vmlinux, packed by $packing, with kallsyms of $layout',
    ({ packing, layout }) => {
      const object = read(smallImage({ packing, layout }));
      const wanted = check(linked);
      const found = check(object);
      const rest = found.functions.filter(({ name }) => name !== 'return_trampoline');
      const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
      expect(rest.sort(byName)).toEqual([...wanted.functions].sort(byName));
      expect(readOrc(object, X86_64.code.orc)?.count).toBe(readOrc(linked, X86_64.code.orc)?.count);
    },
  );

  /** struct orc_entry of 6.1: where its fields are, and numbers of registers. */
  const [SP_OFFSET, BP_OFFSET, REGS, TYPE] = [0, 2, 4, 5];
  const [PREV_SP, BP, SP, REGS_TYPE, END] = [1, 4, 5, 1, 4];
  /** What `saves` says when all that it saves is on the stack: sp+40, rbp at prevsp-32. Where it is seen first, and how. */
  const PLANTED: readonly (readonly [string, number, Verdict, (row: DataView) => void])[] = [
    ['distance of the stack pointer', 0x9, RELIABLE, (row) => row.setInt16(SP_OFFSET, 48, true)],
    ['register of the stack pointer', 0x9, RELIABLE, (row) => row.setUint8(REGS, (PREV_SP << 4) | BP)],
    ['distance of rbp', 0x9, RELIABLE, (row) => row.setInt16(BP_OFFSET, -24, true)],
    // Before the call it has not been changed.
    ['place of rbp, its register', 0x25, RELIABLE, (row) => row.setUint8(REGS, SP)],
    ['type, of registers', 0x9, RELIABLE, (row) => row.setUint8(TYPE, REGS_TYPE)],
    [
      'end of the stack',
      0x9,
      RELIABLE,
      (row) => {
        row.setUint32(SP_OFFSET, 0);
        row.setUint16(REGS, END << 8, true);
      },
    ],
    ['lack of an answer', 0x9, UNRELIABLE, (row) => row.setUint8(REGS, 0)],
  ];
  /** What is reported with nothing planted: code that has no row. */
  let untouched: ReadonlySet<string>;
  beforeAll(() => {
    untouched = new Set(check(read(smallImage())).places.map(({ place }) => place));
  });

  it.each(PLANTED)('report an entry with a wrong %s, at saves+%i', (_, at, verdict, plant) => {
    const text = linked.section('.text')?.index ?? 0;
    const rows = readOrc(linked, X86_64.code.orc);
    const value = Number(linked.symbol('saves')?.value);
    const row = [...(rows?.offset ?? [])].findIndex(
      (offset, i) => rows?.section[i] === text && offset === value + 9,
    );
    expect(row).toBeGreaterThan(0);
    const image = smallImage({
      change: (name, bytes) => {
        if (name === '.orc_unwind') plant(new DataView(bytes.buffer, bytes.byteOffset + 6 * row, 6));
      },
    });
    const planted = check(read(image)).places.filter(({ place }) => !untouched.has(place));
    expect(planted[0]).toMatchObject({
      section: '.text',
      offset: value + at,
      place: `saves+0x${at.toString(16)}`,
      verdict,
    });
    expect(planted.filter(({ place }) => !place.startsWith('saves+'))).toEqual([]);
  });
});

describe('a kernel file', () => {
  it('has the types of its kernel', () => {
    const { btf, packing } = new KernelFile(smallImage({ packing: 'zstd' }), 'vmlinuz', X86_64);
    expect(packing).toBe('zstd');
    expect(btf && layoutOf(btf, 'klp_state')?.fields.map(({ declaration }) => declaration)).toEqual([
      'long unsigned int id',
      'int version',
      'void *data',
    ]);
  });

  it('without kallsyms has no symbols, which is an error where they are asked for', () => {
    const image = smallImage({ kallsyms: (bytes) => new Uint8Array(bytes.length) });
    expect(() => read(image)).toThrow(/^vmlinuz: no symbols: neither a symbol table nor kallsyms/);
  });

  it('that is no kernel is told what it is', () => {
    expect(KernelFile.is(new Uint8Array(100))).toBe(false);
    expect(() => read(smallImage().slice(0, 3000))).toThrow(/^vmlinuz: the image is cut off/);
  });
});
