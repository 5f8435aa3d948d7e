// A linked kernel taken apart again: what the linker put into addresses is found in relocations, as in the objects
// that it was linked from.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { FunctionReport, ObjectCheck } from '../../src/check/verdicts.ts';
import { SHDR_SIZE, SHF_EXECINSTR, SHT_PROGBITS, SHT_SYMTAB } from '../../src/elf/constants.ts';
import { type ElfObject, parseElf } from '../../src/elf/elf_object.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { checkGuest } from './guest.ts';

const OBJECTS = join(import.meta.dirname, '../../fixtures/objects');
const VMLINUX = join(OBJECTS, 'vmlinux/vmlinux');
const read = (path: string): Uint8Array => Uint8Array.from(readFileSync(path));

let elf: ElfObject;
const guest = checkGuest();
beforeAll(() => {
  elf = parseKernelObject(read(VMLINUX), VMLINUX, X86_64);
});

function check(object: ElfObject): ObjectCheck {
  return new ObjectChecker(guest, object, { unwinder: 'orc' }).check();
}

/** The bytes as readFileSync() may give them: a Buffer somewhere in memory that it shares with others. */
function pooled(bytes: Uint8Array): Buffer {
  const pool = Buffer.alloc(bytes.length + 64, 0xa5);
  pool.set(bytes, 13);
  return pool.subarray(13, 13 + bytes.length);
}

it('is read from wherever its bytes stand, and they stay as they are', () => {
  const bytes = pooled(read(VMLINUX));
  const object = parseKernelObject(bytes, VMLINUX, X86_64);
  expect(object.bytes).toEqual(elf.bytes);
  expect(Buffer.compare(bytes, read(VMLINUX))).toBe(0);
});

/** Names that relocations of a section lead to, by symbol and offset. */
function targets(section: string): string[] {
  const at = elf.section(section);
  if (!at) throw new Error(section);
  return elf.relocations(at.index).map(({ symbol, addend }) => {
    const home = symbol.section?.name;
    const found = elf.symbols.find(
      (s) => s.section?.name === home && s.value === addend + 4n && s.name !== '',
    );
    return found ? found.name : `${home}`;
  });
}

describe('a vmlinux', () => {
  it('is an object again: sections, symbols by offset, relocations', () => {
    expect(elf.header.type).toBe(1);
    const start = elf.symbol('start');
    expect(start?.section?.name).toBe('.init.text');
    expect(start?.value).toBe(0n);
  });

  it('has a relocation for each call that leaves its section', () => {
    expect(targets('.init.text')).toEqual(['caller', 'many']);
  });

  it('keeps the addresses of jump tables, of exceptions, replacements and static keys', () => {
    const input = inputFromElf(elf, X86_64.code);
    expect(input.alternatives.map((a) => a.kind).sort()).toEqual(['fixup', 'jumpLabel', 'replace']);
    const rodata = elf.section('.rodata');
    expect(elf.relocations(rodata?.index ?? 0)).toHaveLength(7);
  });

  it('has the ORC table that objtool made for its objects, and ours from its code is the same', () => {
    const [theirs, ours] = [readOrc(elf, X86_64.code.orc), createOrc(inputFromElf(elf, X86_64.code)).rows];
    const text = elf.section('.text')?.index;
    const without = readOrc(
      parseElf(read(join(OBJECTS, 'frames/without-frames.o')), 'without-frames.o', X86_64.elf),
      X86_64.code.orc,
    );
    expect(theirs?.count).toBeGreaterThan(without?.count ?? 0);
    const rowsOf = (rows: typeof ours | undefined) =>
      Array.from(rows?.section ?? [], (section, i) => ({ section, i }))
        .filter(({ section }) => section === text)
        .map(({ i }) => `${rows?.offset[i]} ${rows?.spOffset[i]} ${rows?.fpOffset[i]} ${rows?.flags[i]}`);
    const missing = rowsOf(ours).filter((row) => !rowsOf(theirs).includes(row));
    // Only between the objects, where one's table ends and the next one's begins, do they differ.
    expect(missing.filter((row) => !row.endsWith(' 0 0 0'))).toEqual([]);
  });
});

describe('klpemu check of a vmlinux', () => {
  it('finds every function of the objects as it was in them', () => {
    const linked = new Map(check(elf).functions.map((f) => [f.name, f]));
    for (const name of ['frames/without-frames.o', 'frames/thunks.o']) {
      const path = join(OBJECTS, name);
      for (const func of check(parseElf(read(path), path, X86_64.elf)).functions) {
        expect(linked.get(func.name)).toEqual<FunctionReport>(func);
      }
    }
    expect(linked.get('start')?.reached).toBeGreaterThan(30);
    // Between the two ways of the static key lies a no-op that only fills up.
    for (const [name, filler] of [
      ['probe', 0],
      ['replaced', 0],
      ['switched', 1],
    ] as const) {
      const func = linked.get(name) as FunctionReport;
      expect(func.reached, name).toBe(func.instructions - filler);
    }
  });

  it('is right everywhere, and wrong where an entry of its table is changed', () => {
    expect(check(elf)).toMatchObject({ wrong: 0, unreliable: 0 });
    const bytes = read(VMLINUX);
    const orc = elf.section('.orc_unwind');
    const start = readOrc(elf, X86_64.code.orc)?.section.lastIndexOf(elf.section('.text')?.index ?? 0) ?? 0;
    if (!orc) throw new Error('no table');
    const view = new DataView(bytes.buffer);
    const file = parseKernelObject(bytes, VMLINUX, X86_64);
    const at = positionOf(bytes, '.orc_unwind') + 6 * (start - 3);
    view.setInt16(at, view.getInt16(at, true) + 8, true);
    expect(check(file).wrong).toBe(0);
    expect(check(parseKernelObject(bytes, VMLINUX, X86_64)).wrong).toBeGreaterThan(0);
  });
});

/** Where a section lies in the file itself. */
function positionOf(bytes: Uint8Array, name: string): number {
  const view = new DataView(bytes.buffer);
  const shoff = Number(view.getBigUint64(40, true));
  const names = Number(view.getBigUint64(shoff + view.getUint16(62, true) * SHDR_SIZE + 24, true));
  for (let i = 0; i < view.getUint16(60, true); i++) {
    const at = shoff + i * SHDR_SIZE;
    const from = names + view.getUint32(at, true);
    if (Buffer.from(bytes.subarray(from, from + name.length + 1)).toString() === `${name}\0`) {
      return Number(view.getBigUint64(at + 24, true));
    }
  }
  throw new Error(name);
}

describe('a vmlinux that cannot be used', () => {
  /** Changes the type of the sections that `wanted` takes. */
  function retyped(wanted: (type: number, flags: number) => boolean, to: number): Uint8Array {
    const bytes = read(VMLINUX);
    const view = new DataView(bytes.buffer);
    const shoff = Number(view.getBigUint64(40, true));
    for (let i = 1; i < view.getUint16(60, true); i++) {
      const at = shoff + i * SHDR_SIZE;
      if (wanted(view.getUint32(at + 4, true), view.getUint32(at + 8, true)))
        view.setUint32(at + 4, to, true);
    }
    return bytes;
  }

  it('without symbols says so', () => {
    const stripped = retyped((type) => type === SHT_SYMTAB, SHT_PROGBITS);
    expect(() => parseKernelObject(stripped, 'vmlinux', X86_64)).toThrow(
      /vmlinux: no symbols: neither a symbol table nor kallsyms/,
    );
  });

  it('with a table that leads nowhere names the table', () => {
    const bytes = read(VMLINUX);
    new DataView(bytes.buffer).setInt32(positionOf(bytes, '.orc_unwind_ip'), 0x70000000, true);
    expect(() => parseKernelObject(bytes, 'vmlinux', X86_64)).toThrow(
      /rows of no known size.*\.orc_unwind_ip/,
    );
  });

  it('cut off anywhere is an error or an object, and nothing else', () => {
    const bytes = read(VMLINUX);
    for (let length = 0; length < bytes.length; length += 97) {
      try {
        parseKernelObject(bytes.slice(0, length), 'vmlinux', X86_64);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOEXEC' });
      }
    }
    expect(elf.sections.some(({ flags }) => flags & SHF_EXECINSTR)).toBe(true);
  });
});
