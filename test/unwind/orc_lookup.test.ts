import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type OrcTable, orcSearch, orcTableFromEntries } from '../../src/elf/orc.ts';
import { OrcLookup, TextRangeError } from '../../src/unwind/orc_lookup.ts';
import { ORC } from './stack_builder.ts';
import { IMAGE, MODULE } from './text.ts';

const table = (...ips: number[]): OrcTable =>
  orcTableFromEntries(ips.map((ip, i) => ({ ...ORC.sp(8 + 8 * i), ip })));

/** sp_offset of the entry in force, which tells the entries of table() apart; undefined for none. */
function offsetAt(lookup: OrcLookup, ip: number): number | undefined {
  const index = lookup.find(ip);
  return index < 0 ? undefined : lookup.hit.spOffset[index];
}

describe('the ORC lookup', () => {
  it('finds what a search of the whole table finds, in every block', () => {
    const size = 0x3000;
    const offsets = fc.array(fc.nat(size - 1), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(offsets, fc.nat(255), fc.array(fc.nat(size - 1)), (entries, skew, asked) => {
        const start = IMAGE + skew;
        const orc = table(...entries.map((offset) => start + offset));
        const lookup = new OrcLookup();
        lookup.addText({ name: 'vmlinux', ranges: [{ start, size }], orc });
        for (const offset of [...asked, ...entries, 0, size - 1]) {
          expect(lookup.find(start + offset)).toBe(orcSearch(orc.ip, 0, orc.count - 1, start + offset));
        }
      }),
    );
  });

  it('knows text by its bounds, to the byte', () => {
    const lookup = new OrcLookup();
    lookup.addText({ name: 'vmlinux', ranges: [{ start: IMAGE, size: 0x1234 }], orc: table(IMAGE) });
    const answers = [IMAGE - 1, IMAGE, IMAGE + 0x1233, IMAGE + 0x1234].map((ip) =>
      lookup.kernelTextAddress(ip),
    );
    expect(answers).toEqual([false, true, true, false]);
    expect(lookup.find(IMAGE + 0x1234)).toBe(-1);
    expect(lookup.kernelTextAddress(0)).toBe(false);
    expect(lookup.kernelTextAddress(0x1000)).toBe(false);
    expect(lookup.kernelTextAddress(IMAGE | 0)).toBe(true);
  });

  it('uses one table for all text of a module, and forgets a module that is gone', () => {
    const lookup = new OrcLookup();
    lookup.addText({ name: 'vmlinux', ranges: [{ start: IMAGE, size: 0x1000 }], orc: table(IMAGE) });
    const ranges = [
      { start: MODULE, size: 0x800 },
      { start: MODULE + 0x3000, size: 0x40 },
    ];
    const handle = lookup.addText({ name: 'm', ranges, orc: table(MODULE, MODULE + 0x10, MODULE + 0x3000) });
    expect(offsetAt(lookup, MODULE + 0x7ff)).toBe(16);
    expect(offsetAt(lookup, MODULE + 0x3000)).toBe(24);
    expect(lookup.nameAt(MODULE + 4)).toBe('m');
    lookup.remove(handle);
    lookup.remove(handle);
    expect(lookup.kernelTextAddress(MODULE)).toBe(false);
    expect(offsetAt(lookup, MODULE + 0x3000)).toBeUndefined();
    expect(offsetAt(lookup, IMAGE)).toBe(8);
    lookup.addText({ name: 'm2', ranges, orc: table(MODULE) });
    expect(lookup.nameAt(MODULE + 4)).toBe('m2');
  });

  it('tells ranges that share a page apart', () => {
    const lookup = new OrcLookup();
    const handles = [0, 0x100, 0x200].map((offset) =>
      lookup.addText({
        name: `m${offset}`,
        ranges: [{ start: MODULE + offset, size: 0x80 }],
        orc: table(...Array.from({ length: 1 + offset / 0x100 }, () => MODULE + offset)),
      }),
    );
    expect([0, 0x7f, 0x80, 0x100, 0x17f, 0x200].map((offset) => lookup.nameAt(MODULE + offset))).toEqual([
      'm0',
      'm0',
      undefined,
      'm256',
      'm256',
      'm512',
    ]);
    lookup.remove(handles[0]);
    lookup.remove(handles[2]);
    expect(lookup.nameAt(MODULE)).toBeUndefined();
    expect(lookup.nameAt(MODULE + 0x100)).toBe('m256');
  });

  it('looks a trampoline up in its template; a template in a trampoline has no entry', () => {
    const lookup = new OrcLookup();
    lookup.addText({
      name: 'vmlinux',
      ranges: [{ start: IMAGE, size: 0x100 }],
      orc: table(IMAGE, IMAGE + 0x40),
    });
    lookup.addTrampoline({ name: 'a', start: MODULE, size: 0x40, template: IMAGE + 0x30 });
    lookup.addTrampoline({ name: 'b', start: MODULE + 0x1000, size: 0x40, template: MODULE });
    expect([0, 0xf, 0x10, 0x3f].map((offset) => offsetAt(lookup, MODULE + offset))).toEqual([8, 8, 16, 16]);
    expect(lookup.ftraceTrampoline(MODULE + 0x10)).toBe(IMAGE + 0x40);
    expect(lookup.ftraceTrampoline(IMAGE)).toBe(0);
    expect(lookup.ftraceTrampoline(0x10)).toBe(0);
    expect(lookup.kernelTextAddress(MODULE + 0x1000)).toBe(true);
    expect(lookup.find(MODULE + 0x1000)).toBe(-1);
  });

  it('tells all text as it was added, with what a trampoline is a copy of', () => {
    const lookup = new OrcLookup();
    const orc = table(IMAGE);
    lookup.addText({ name: 'vmlinux', ranges: [{ start: IMAGE, size: 0x100 }], orc });
    lookup.addText({ name: 'bare', ranges: [{ start: IMAGE + 0x1000, size: 0x10 }], orc: table() });
    const handle = lookup.addTrampoline({ name: 'a', start: MODULE, size: 0x40, template: IMAGE + 0x30 });
    const copy = { name: 'a', start: MODULE, size: 0x40, template: IMAGE + 0x30 };
    const texts = [
      { name: 'vmlinux', start: IMAGE, size: 0x100, orc },
      { name: 'bare', start: IMAGE + 0x1000, size: 0x10 },
    ];
    expect([...lookup.texts()]).toEqual([...texts, copy]);
    lookup.remove(handle);
    expect([...lookup.texts()]).toEqual(texts);
    expect(lookup.find(IMAGE + 0x1000)).toBe(-1);
  });

  it('is not mistaken about a handle whose number another has now', () => {
    const lookup = new OrcLookup();
    const add = (name: string) => lookup.addText({ name, ranges: [{ start: MODULE, size: 0x10 }] });
    const old = add('old');
    lookup.remove(old);
    add('new');
    lookup.remove(old);
    expect(lookup.nameAt(MODULE)).toBe('new');
  });

  it('has room for 65,534 pieces of text, refuses one more, and takes it when another has gone', () => {
    const lookup = new OrcLookup();
    const add = (i: number) =>
      lookup.addText({ name: 'm', ranges: [{ start: 0x80000000 + i * 4096, size: 16 }] });
    const handles = Array.from({ length: 65_534 }, (_, i) => add(i));
    expect(() => add(65_534)).toThrow(TextRangeError);
    lookup.remove(handles[7]);
    expect(add(65_534).ids).toHaveLength(1);
  });

  it('refuses text that overlaps other text or is not in kernel space, and adds none of it', () => {
    const lookup = new OrcLookup();
    lookup.addText({ name: 'vmlinux', ranges: [{ start: IMAGE, size: 0x100 }] });
    const add = (...ranges: { start: number; size: number }[]) => lookup.addText({ name: 'm', ranges });
    const fresh = { start: MODULE, size: 0x100 };
    expect(() => add(fresh, { start: IMAGE + 0xff, size: 1 })).toThrow('text of m overlaps vmlinux');
    expect(() => add(fresh, fresh)).toThrow(TextRangeError);
    expect(() => add(fresh, { start: 0x400000, size: 0x1000 })).toThrow('not in kernel space');
    expect(() => add(fresh, { start: MODULE, size: 0 })).toThrow('not in kernel space');
    expect(() => add({ start: 0xfffff000, size: 0x2000 })).toThrow('not in kernel space');
    const codes = [fresh, { start: IMAGE + 0xff, size: 1 }, { start: 0x400000, size: 1 }].map((range) => {
      try {
        lookup.remove(add(range));
        return 'added';
      } catch (error) {
        return (error as TextRangeError).code;
      }
    });
    expect(codes).toEqual(['added', 'EEXIST', 'EINVAL']);
    expect(lookup.kernelTextAddress(MODULE)).toBe(false);
    const top = { start: 0xfffff000, size: 0x1000 };
    expect(add(top).ids).toHaveLength(1);
    expect(() => add(top)).toThrow('text of m overlaps m');
  });
});
