import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { GuestMemory } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { moduleFile } from '../../src/module/dependencies.ts';
import { layoutModule } from '../../src/module/layout.ts';
import { FIRST_MODULE, ModuleArena } from '../../src/module/module_alloc.ts';
import { nextArg } from '../../src/module/params.ts';
import { fixture } from './harness.ts';

describe('one argument after the other', () => {
  it.each([
    ['a=1 b', 'a', '1', 'b'],
    ['flag   next=2', 'flag', undefined, 'next=2'],
    ['name="two words" x', 'name', 'two words', 'x'],
    ['"name=two words" x', 'name', 'two words', 'x'],
    ['a=b=c', 'a', 'b=c', ''],
    ['a=', 'a', '', ''],
    ['-- rest', '--', undefined, 'rest'],
    // A quote that is not closed, and one that does not open the value.
    ['name="two words', 'name', 'two words', ''],
    ['name=a"b c" x', 'name', 'a"b c"', 'x'],
  ])('%j', (args, param, value, rest) => {
    expect(nextArg(args)).toEqual({ param, value, rest });
  });

  it('always gets shorter', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: fc.constantFrom('a', '=', '"', ' ', '-') }), (text) => {
        const args = text.trimStart();
        fc.pre(args !== '');
        expect(nextArg(args).rest.length).toBeLessThan(args.length);
      }),
    );
  });
});

describe('the module area', () => {
  const arena = (): ModuleArena =>
    new ModuleArena(
      new GuestMemory({ image: 4096, heap: 4096, stacks: 1, modules: 4 << 20, users: false }),
      FIRST_MODULE,
      1 << 20,
    );

  it('gives out the lowest gap, a guard page after each area', () => {
    const area = arena();
    const [a, b] = [area.alloc(4 * 4096), area.alloc(1)];
    expect([a, b]).toEqual([FIRST_MODULE, FIRST_MODULE + 0x5000n]);
    area.free(FIRST_MODULE);
    expect(area.alloc(5 * 4096)).toBe(FIRST_MODULE + 0x7000n);
    expect(area.alloc(4 * 4096)).toBe(FIRST_MODULE);
  });

  it('has all its room in one piece again once everything was given back, in whatever order', () => {
    const sizes = [3, 1, 2];
    const orders = [
      [0, 1, 2],
      [2, 1, 0],
      [0, 2, 1],
      [1, 0, 2],
    ];
    for (const order of orders) {
      const area = arena();
      const whole = (area: ReturnType<typeof arena>) => area.alloc((1 << 20) - 4096);
      expect(whole(arena())).toBe(FIRST_MODULE);
      const given = sizes.map((pages) => area.alloc(pages * 4096) ?? 0n);
      for (const which of order) area.free(given[which]);
      expect([area.used(), whole(area)]).toEqual([0, FIRST_MODULE]);
    }
  });

  it('says when it is full, and of a free of what is not there', () => {
    const area = arena();
    expect(area.alloc(2 << 20)).toBeUndefined();
    expect(area.alloc(0)).toBeUndefined();
    expect(() => area.free(FIRST_MODULE)).toThrow('not allocated');
  });

  it('never gives out a byte twice', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -8, max: 40 }), { maxLength: 40 }), (steps) => {
        const area = arena();
        const live: { base: bigint; end: bigint }[] = [];
        for (const step of steps) {
          if (step <= 0) {
            const gone = live.splice(-step % Math.max(live.length, 1), 1)[0];
            if (gone) area.free(gone.base);
            continue;
          }
          const base = area.alloc(step * 4096);
          if (base === undefined) continue;
          const end = base + BigInt(step * 4096);
          expect(live.every((l) => end < l.base || base > l.end)).toBe(true);
          live.push({ base, end });
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('the layout of a module', () => {
  const elf = parseElf(fixture('klpdemo_target'), 'klpdemo_target.ko', X86_64.elf);
  const layout = layoutModule(elf, false, BUILT_IN.structs);

  it('is text, read-only, read-only after init, writable, on pages of their own', () => {
    const { core } = layout;
    expect([core.textSize, core.roSize, core.roAfterInitSize, core.size]).toEqual([
      0x1000, 0x2000, 0x2000, 0x4000,
    ]);
    const region = (name: string): number => layout.places.get(elf.section(name)?.index ?? 0)?.offset ?? -1;
    expect(region('.text')).toBe(0);
    expect(region('__param')).toBeGreaterThanOrEqual(core.textSize);
    expect(region('.data')).toBeGreaterThanOrEqual(core.roAfterInitSize);
  });

  it('puts .init sections apart and drops what is only for the loader', () => {
    const at = (name: string) => layout.places.get(elf.section(name)?.index ?? -1);
    expect(at('.init.text')?.region).toBe('init');
    expect(at('.exit.text')?.region).toBe('core');
    expect(at('.modinfo')).toBeUndefined();
    expect(at('__versions')).toBeUndefined();
    expect(at('.comment')).toBeUndefined();
  });

  it('has the symbols and their names behind the rest of init, and what stays of them behind the rest of core', () => {
    const { symtab, strtab } = elf;
    const {
      initSymtab,
      initStrtab,
      initKallsyms,
      initTypes,
      coreSymtab,
      coreStrtab,
      coreTypes,
      coreSymbols,
    } = layout.symtab;
    const places = [symtab, strtab].map((section) => layout.places.get(section?.index ?? 0));
    expect(places).toEqual([
      { section: symtab, region: 'init', offset: initSymtab },
      { section: strtab, region: 'init', offset: initStrtab },
    ]);
    const ends = (region: 'core' | 'init') =>
      [...layout.places.values()]
        .filter((p) => p.region === region && p.section !== symtab && p.section !== strtab)
        .map(({ offset, section }) => offset + section.size);
    const up = (value: number, to: number) => Math.ceil(value / to) * to;
    expect(initSymtab).toBe(up(Math.max(...ends('init')), 4096));
    expect(initStrtab).toBe(initSymtab + (symtab?.size ?? 0));
    expect(initKallsyms).toBe(up(initStrtab + (strtab?.size ?? 0), 8));
    expect(initTypes).toBe(initKallsyms + BUILT_IN.structs.mod_kallsyms.size);
    expect(layout.init.size).toBe(up(initTypes + elf.symbols.length, 4096));
    expect(coreSymtab).toBe(up(Math.max(...ends('core')), 4096));
    expect(coreStrtab).toBe(coreSymtab + 24 * coreSymbols.length);
    expect(coreTypes).toBe(coreStrtab + coreSymbols.map(({ name }) => `${name}\0`).join('').length);
    expect(layout.core.size).toBe(up(coreTypes + coreSymbols.length, 4096));
  });

  it('never lets two sections overlap', () => {
    for (const region of ['core', 'init'] as const) {
      const placed = [...layout.places.values()].filter((p) => p.region === region && p.section.size > 0);
      placed.sort((a, b) => a.offset - b.offset);
      placed.forEach((p, i) => {
        expect(p.offset % p.section.align).toBe(0);
        const next = placed[i + 1]?.offset ?? layout[region].size;
        expect(p.offset + p.section.size).toBeLessThanOrEqual(next);
      });
    }
  });
});

describe('what a module file gives and takes', () => {
  it('are the symbols that it exports, and no other that it has; and those that it has not', () => {
    const file = (name: string) =>
      moduleFile(`/lib/${name}.ko`, parseElf(fixture(name), `${name}.ko`, X86_64.elf));
    expect(file('klpdemo_tallies')).toEqual({
      name: 'klpdemo_tallies',
      path: '/lib/klpdemo_tallies.ko',
      exports: ['klpdemo_shared'],
      imports: expect.arrayContaining(['__fentry__', '__x86_return_thunk']),
    });
    expect(file('klpdemo_bad_import')).toMatchObject({
      exports: [],
      imports: ['__fentry__', '__x86_return_thunk', 'klpdemo_no_such_symbol'],
    });
  });
});
