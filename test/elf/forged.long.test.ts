// Objects that claim more than they hold: what comes of each is a table, a module or an error with a reason, in time
// and memory that go with the size of the file.

import { afterEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { ElfError } from '../../src/elf/error.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import { tryObject } from '../fuzz/try_object.ts';
import { Rig } from '../module/harness.ts';
import { type ForgedSymbol, forgeElf, forgeModule, forgeSymbols, INIT, STRTAB } from './forge.ts';

const MIB = 1 << 20;
const code = (text: string): Buffer => Buffer.from(text, 'hex');
const rela = (rows: number): Buffer => Buffer.concat(Array.from({ length: rows }, () => ROW));
const ROW = Buffer.from('0000000000000000020000000100000000000000000000 00'.replaceAll(' ', ''), 'hex');
const jcc = (n: number): Buffer => {
  const bytes = Buffer.alloc(6 * n + 1, 0xc3);
  for (let i = 0; i < n; i++) {
    bytes.writeUInt16BE(0x0f84, 6 * i);
    bytes.writeInt32LE((((i * 7919) % n) - i - 1) * 6, 6 * i + 2);
  }
  return bytes;
};
const bss = (count: number, flags: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `.bss${i}`, type: 8, flags, size: 0xffffffffn }));
const shared = (count: number, first: object, name: (i: number) => string, more: object) => [
  { name: '.first', type: 1, ...first },
  ...Array.from({ length: count }, (_, i) => ({ name: name(i), type: 1, share: 7, ...more })),
];
const ESCAPE = '\x1b[31mEVIL\x1b[0m\x1b]0;own\x07';
const named = (row: ForgedSymbol, name: string): Uint8Array =>
  forgeModule({
    symbols: forgeSymbols([INIT, { ...row, name: STRTAB.length }]),
    strings: Buffer.concat([STRTAB, Buffer.from(`${name}\0`, 'latin1')]),
  });

/** What is in the file, and what a load of it comes to; undefined: it is loaded. */
const OBJECTS: Readonly<Record<string, readonly [() => Uint8Array, RegExp | undefined]>> = {
  'a module as it should be': [() => forgeModule(), undefined],
  'a hundred thousand symbols of one long name': [
    () =>
      forgeModule({
        strings: Buffer.concat([STRTAB, Buffer.alloc(MIB, 0x41), Buffer.from([0])]),
        symbols: forgeSymbols(Array.from({ length: 100_000 }, () => ({ ...INIT, name: STRTAB.length }))),
      }),
    /no module memory/,
  ],
  'a hundred thousand long names that overlap': [
    () =>
      forgeModule({
        strings: Buffer.concat([STRTAB, Buffer.alloc(MIB, 0x41), Buffer.from([0])]),
        symbols: forgeSymbols(
          Array.from({ length: 100_000 }, (_, i) => ({ ...INIT, name: STRTAB.length + i })),
        ),
      }),
    /no module memory/,
  ],
  'relocation tables that lie over each other': [
    () =>
      forgeModule({
        extra: Array.from({ length: 60_000 }, (_, i) => ({
          name: '.rela.text',
          type: 4,
          ...(i === 0 ? { data: rela(40_000) } : { share: 7 }),
          link: 5,
          info: 1,
          entsize: 24,
        })),
      }),
    /relocation tables overlap/,
  ],
  'data sections that lie over each other': [
    () =>
      forgeModule({
        extra: shared(60_000, { flags: 3, data: Buffer.alloc(MIB) }, () => '.data.x', { flags: 3 }),
      }),
    /no module memory/,
  ],
  'text sections that lie over each other': [
    () =>
      forgeModule({
        extra: shared(60_000, { flags: 6, data: Buffer.alloc(MIB, 0x90) }, (i) => `.text.x${i}`, {
          flags: 6,
        }),
      }),
    /no module memory/,
  ],
  'a .bss of 4 GiB': [() => forgeModule({ extra: bss(1, 3) }), /no module memory/],
  'text of 4 GiB without bytes': [() => forgeModule({ extra: bss(1, 6) }), /no module memory/],
  '3,000 times 4 GiB': [() => forgeModule({ extra: bss(3000, 3) }), /no module memory/],
  'alignments of 2 GiB': [
    () =>
      forgeModule({
        extra: [1, 2, 3].map((i) => ({ name: `.data${i}`, type: 1, flags: 3, data: ROW, align: 1n << 31n })),
      }),
    /no module memory/,
  ],
  'an offset behind the end of everything': [
    () =>
      forgeModule({
        extra: [{ name: '.data1', type: 1, flags: 3, data: ROW, offset: (1n << 64n) - 16n }],
      }),
    /Invalid ELF section in module/,
  ],
  'an offset of 2^63': [
    () => forgeModule({ extra: [{ name: '.data1', type: 1, flags: 3, data: ROW, offset: 1n << 63n }] }),
    /Invalid ELF section in module/,
  ],
  'a size of 2^64 - 1': [
    () => forgeModule({ extra: [{ name: '.data1', type: 1, flags: 3, size: (1n << 64n) - 1n }] }),
    /Invalid ELF section in module/,
  ],
  'relocations of no size': [
    () => forgeModule({ extra: [{ name: '.rela.text', type: 4, data: rela(10), link: 5, info: 1 }] }),
    /relocation table of 240 bytes, 0 an entry/,
  ],
  'a symbol table that is its own string table': [
    () =>
      forgeElf([
        { name: '.text', type: 1, flags: 6, data: code('c3') },
        { name: '.symtab', type: 2, data: forgeSymbols([INIT]), link: 2, info: 1, entsize: 24 },
      ]),
    /No module found in object/,
  ],
  'a name of control characters': [() => forgeModule({ name: ESCAPE }), undefined],
  'a symbol of control characters': [() => named({ ...INIT, value: 16 }, ESCAPE), undefined],
  'an import of control characters': [() => named({ ...INIT, shndx: 0 }, ESCAPE), /Unknown symbol/],
  'a module of a hundred thousand dependencies': [
    () =>
      forgeModule({ modinfo: `depends=${Array.from({ length: 100_000 }, (_, i) => `m${i}`).join(',')}\0` }),
    undefined,
  ],
  'a module of two hundred thousand parameters': [
    () =>
      forgeModule({
        modinfo: Array.from({ length: 200_000 }, (_, i) => `parm=p${i}:x\0parmtype=p${i}:int\0`).join(''),
      }),
    undefined,
  ],
  'sixty thousand symbols': [
    () =>
      forgeModule({
        symbols: forgeSymbols(
          Array.from({ length: 60_000 }, (_, i) => ({ ...INIT, value: i % 64, size: 1 })),
        ),
      }),
    undefined,
  ],
  'twenty thousand functions that lie over each other': [
    () =>
      forgeModule({
        text: Buffer.concat([Buffer.alloc(20_000, 0x90), code('c3')]),
        symbols: forgeSymbols(
          Array.from({ length: 20_000 }, (_, i) => ({ ...INIT, value: i, size: 20_001 - i })),
        ),
      }),
    undefined,
  ],
  'a maze of jumps': [
    () => forgeModule({ text: jcc(50_000), symbols: forgeSymbols([{ ...INIT, size: 300_001 }]) }),
    undefined,
  ],
};

/** For modules: what is forged is large. */
const ROOM = 96 * MIB;
/** A file of a few MiB is read in less; several times that on a busy computer. */
const MEMORY_MAX = 700 * MIB;

describe('a forged object', () => {
  afterEach(() => globalThis.gc?.());

  it.each(Object.entries(OBJECTS))('is loaded, or refused with a reason: %s', (_what, [make, refusal]) => {
    const bytes = make();
    const before = process.memoryUsage().rss;
    const rig = new Rig({}, 2, ROOM);
    try {
      const elf = parseElf(bytes, 'forged.ko', X86_64.elf);
      rig.exportAll(
        undefinedSymbols(elf)
          .map((s) => s.name)
          .filter((name) => name !== ESCAPE),
      );
    } catch (error) {
      expect(error).toBeInstanceOf(ElfError);
    }
    const was = rig.snapshot();
    const result = rig.run(rig.loader.loadModule({ file: 'forged.ko', bytes }));
    if (refusal === undefined) expect(result).toMatchObject({ ok: true });
    else {
      expect(result).toMatchObject({ ok: false });
      expect((result as { reason: string }).reason).toMatch(refusal);
      expect(rig.snapshot()).toEqual(was);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(MEMORY_MAX);
  });

  it.each(Object.entries(OBJECTS))('is read by orc, or refused with a reason: %s', (_what, [make]) => {
    const before = process.memoryUsage().rss;
    expect(typeof tryObject(make(), 'forged.ko')).toBe('string');
    expect(process.memoryUsage().rss - before).toBeLessThan(MEMORY_MAX);
  });
});

describe('an object of more sections than its header counts', () => {
  const COUNT = 70_000;
  /** Function i is in section 3 + i. */
  const many = (): Uint8Array => {
    const functions = Array.from({ length: COUNT }, (_, i) => i);
    const strings = Buffer.from(`\0${functions.map((i) => `f${i}`).join('\0')}\0`, 'latin1');
    let at = 1;
    const rows = functions.map((i): ForgedSymbol => {
      const name = at;
      at += `f${i}`.length + 1;
      const section = i + 4;
      return { name, info: 0x12, shndx: section >= 0xff00 ? 0xffff : section, size: 1 };
    });
    const indexes = Buffer.alloc(4 * (COUNT + 1));
    for (const i of functions) if (i + 4 >= 0xff00) indexes.writeUInt32LE(i + 4, 4 * (i + 1));
    return forgeElf([
      { name: '.strtab', type: 3, data: strings },
      { name: '.symtab', type: 2, data: forgeSymbols(rows), link: 1, info: 1, entsize: 24, align: 8n },
      { name: '.symtab_shndx', type: 18, data: indexes, link: 2, entsize: 4, align: 4n },
      ...functions.map((i) => ({ name: `.text.f${i}`, type: 1, flags: 6, data: code('c3') })),
    ]);
  };
  const bytes = many();

  it('is read with them all, and each symbol is in its own', () => {
    const elf = parseElf(bytes, 'many.o', X86_64.elf);
    expect(elf.sections).toHaveLength(COUNT + 5);
    for (const i of [0, 65_000, 65_275, 65_276, 65_277, 65_521, 65_535, COUNT - 1]) {
      expect(elf.symbols[i + 1].section?.name).toBe(`.text.f${i}`);
    }
  });

  it('gets tables for all functions', () => {
    expect(tryObject(bytes, 'many.o')).toBe('tables');
  });

  it('is no module: the kernel reads the header alone', () => {
    const rig = new Rig();
    const result = rig.run(rig.loader.loadModule({ file: 'many.ko', bytes }));
    expect(result).toMatchObject({ ok: false, errno: 8 });
    expect(rig.dmesg.at(-1)).toBe(
      'Invalid ELF section name index: 65535 || e_shstrndx (65535) >= e_shnum (0)',
    );
  });
});
