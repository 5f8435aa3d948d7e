// A real kernel's symbols as columns give the answers that a plain list of them gives.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hex16, hi32, lo32 } from '../../src/guest/addr.ts';
import { ColumnSymbols } from '../../src/kernel/column_symbols.ts';
import { type KernelSymbol, SortedSymbols, stem } from '../../src/kernel/object_symbols.ts';
import { PackedNames } from '../../src/kernel/packed_names.ts';
import { SymbolLines } from '../../src/kernel/symbol_lines.ts';

const BASE = 0xffffffff81000000n;
const NAMES = ['a', 'ab', 'a.b', 'a.cold', 'b', 'b.cold', 'b.part.0', 'ab.isra.0', '.', 'x', '\xe9'];

const name = fc.constantFrom(...NAMES);
const namesOf = (all: readonly string[]): PackedNames => PackedNames.of(all.length, (i) => all[i]);

/** Ascending; several may be at one address. */
const real = fc
  .array(fc.tuple(fc.nat(3), name, fc.constantFrom('t', 'T', 'd')), { minLength: 1, maxLength: 40 })
  .map((steps) => {
    let at = BASE;
    return steps.map(([step, name, type]) => {
      at += BigInt(8 * step);
      return { name, type, addr: at };
    });
  });

/** Sizes to the next address that has a symbol. */
const sized = (symbols: readonly Omit<KernelSymbol, 'size'>[]): KernelSymbol[] =>
  symbols.map((symbol) => {
    const next = symbols.find(({ addr }) => addr > symbol.addr);
    return { ...symbol, size: next ? Number(next.addr - symbol.addr) : 0 };
  });

function columnsOf(symbols: readonly Omit<KernelSymbol, 'size'>[]) {
  return {
    names: namesOf(symbols.map(({ name }) => name)),
    low: Uint32Array.from(symbols, ({ addr }) => lo32(addr)),
    high: Uint32Array.from(symbols, ({ addr }) => hi32(addr)),
    types: Uint8Array.from(symbols, ({ type }) => type.charCodeAt(0)),
  };
}

/** Symbols of ours behind the kernel's: some stand for one of these. */
function joined(found: Parameters<typeof sized>[0], names: readonly string[], gone: readonly number[]) {
  const all = sized(found);
  const behind = (all.at(-1)?.addr ?? BASE) + 64n;
  const ownAt = (name: string, i: number): KernelSymbol => ({
    name,
    addr: behind + BigInt(16 * i),
    size: 16,
    type: 't',
  });
  const numbers = [...new Set(gone.filter((i) => i < all.length))];
  const standIns = numbers.map((number, i) => ownAt(all[number].name, i));
  const own = [...standIns, ...names.map((name, i) => ownAt(name, standIns.length + i))];
  const hidden = new Map(numbers.map((number, i) => [number, standIns[i]]));
  return { all, own, hidden, behind };
}

describe('names in columns', () => {
  it('are those that went in, and have the numbers of those of a plain list', () => {
    fc.assert(
      fc.property(
        fc.array(name, { maxLength: 60 }),
        fc.constantFrom(...NAMES, 'none', '\u0161'),
        (all, one) => {
          const packed = namesOf(all);
          const numbers = (is: (text: string) => boolean): number[] =>
            all.flatMap((text, i) => (is(text) ? [i] : []));
          expect([...packed]).toEqual(all);
          expect(packed.numbers(one)).toEqual(numbers((text) => text === one));
          expect(packed.withStem(one)).toEqual(
            numbers((text) => text.indexOf('.') > 0 && text.startsWith(`${one}.`)),
          );
        },
      ),
    );
  });
});

describe('symbols in columns', () => {
  it('are found by address as in a plain list, those that are hidden nowhere', () => {
    fc.assert(
      fc.property(real, fc.array(name, { maxLength: 8 }), fc.array(fc.nat(39)), (found, ownNames, gone) => {
        const { all, own, hidden, behind } = joined(found, ownNames, gone);
        const symbols = new ColumnSymbols(columnsOf(found), new SortedSymbols(own), hidden);
        const plain = new SortedSymbols([...all.filter((_, i) => !hidden.has(i)), ...own]);
        expect([...symbols.listed()]).toEqual([...plain.listed()]);
        expect(symbols.count).toBe(plain.count);
        const lines = new SymbolLines(1);
        symbols.show(lines, '');
        expect(Buffer.from(lines.bytes).toString('latin1')).toBe(
          [...plain.listed()].map(({ addr, type, name }) => `${hex16(addr)} ${type} ${name}\n`).join(''),
        );
        for (let at = BASE - 8n; at < behind + 16n * BigInt(own.length) + 32n; at += 4n) {
          expect(symbols.covering(at)).toEqual(plain.covering(at));
          expect(symbols.offsetAt(at)).toBe(plain.offsetAt(at));
        }
      }),
    );
  });

  it("are found by name in the kernel's order, and as many as it has, an own one in the place of what it stands for", () => {
    fc.assert(
      fc.property(real, fc.array(name, { maxLength: 8 }), fc.array(fc.nat(39)), (found, ownNames, gone) => {
        const { all, own, hidden } = joined(found, ownNames, gone);
        const symbols = new ColumnSymbols(columnsOf(found), new SortedSymbols(own), hidden);
        const known = new Set(all.map(({ name }) => name));
        const only = own.filter(({ name }) => !known.has(name));
        const inOrder = [...all.map((symbol, i) => hidden.get(i) ?? symbol), ...only];
        for (const one of NAMES) {
          expect(symbols.named(one)).toEqual(inOrder.filter(({ name }) => name === one));
          expect(symbols.dotted(one)).toEqual(
            inOrder.filter(({ name }) => name.indexOf('.') > 0 && stem(name) === one),
          );
        }
      }),
    );
  });

  it('are counted by a sympos where the kernel has them, wherever ours is', () => {
    const found = ['show', 'x', 'show', 'show'].map((name, i) => ({
      name,
      type: 't',
      addr: BASE + BigInt(16 * i),
    }));
    const ours = { name: 'show', type: 't', addr: BASE + 0x1000n, size: 16 };
    const other = { name: 'x', type: 't', addr: BASE + 0x1010n, size: 16 };
    const symbols = new ColumnSymbols(
      columnsOf(found),
      new SortedSymbols([ours, other]),
      new Map([[0, ours]]),
    );
    expect(symbols.named('show').map(({ addr }) => addr)).toEqual([ours.addr, BASE + 32n, BASE + 48n]);
    expect(symbols.named('x').map(({ addr }) => addr)).toEqual([BASE + 16n]);
  });

  it('have no size where they are offsets into per-CPU areas', () => {
    const offsets = [
      { name: 'a', type: 'A', addr: 0n },
      { name: 'b', type: 'A', addr: 0x40n },
      { name: 'x', type: 'T', addr: BASE },
    ];
    const symbols = new ColumnSymbols(columnsOf(offsets), new SortedSymbols([]), new Map());
    expect(symbols.named('a')).toEqual([{ ...offsets[0], size: 0 }]);
    expect(symbols.covering(8n)).toBeUndefined();
  });
});
