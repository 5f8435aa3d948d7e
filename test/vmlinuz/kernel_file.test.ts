// A kernel as it is installed, packed and stripped, read as the object with symbols that it was linked from.

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { layoutOf } from '../../src/btf/layout.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { ObjectCheck } from '../../src/check/verdicts.ts';
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

  it('report an entry that was made wrong at its instruction', () => {
    const text = linked.section('.text')?.index ?? 0;
    const rows = readOrc(linked, X86_64.code.orc);
    const value = Number(linked.symbol('crowded')?.value);
    // The first row of `crowded` that is not its entry's.
    const row = [...(rows?.offset ?? [])].findIndex(
      (offset, i) => rows?.section[i] === text && offset > value,
    );
    const offset = rows?.offset[row] ?? 0;
    expect(row).toBeGreaterThan(0);
    const image = smallImage({
      change: (name, bytes) => {
        if (name !== '.orc_unwind') return;
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        view.setInt16(6 * row, view.getInt16(6 * row, true) + 8, true);
      },
    });
    const { wrong, places } = check(read(image));
    expect(wrong).toBeGreaterThan(0);
    expect(places[0]).toMatchObject({
      section: '.text',
      offset,
      place: `crowded+0x${(offset - value).toString(16)}`,
    });
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
