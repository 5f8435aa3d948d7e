// Which symbols cover a place of a section.
//
// Invariant: looking up takes a logarithm of the symbols, however they overlap.

import type { SymbolTable } from './input.ts';

/** In columns, by where symbols start. */
interface Ranges {
  readonly symbols: readonly number[];
  readonly starts: Int32Array;
  /** The farthest end of this symbol and those before it. */
  readonly ends: Float64Array;
}

const NONE: Ranges = { symbols: [], starts: new Int32Array(0), ends: new Float64Array(0) };

export class SymbolRanges {
  readonly #symbols: SymbolTable;
  readonly #bySection = new Map<number, Ranges>();

  /** Of the symbols that `wanted` takes. */
  constructor(symbols: SymbolTable, wanted: (symbol: number) => boolean) {
    this.#symbols = symbols;
    const { count, section, value } = symbols;
    const lists = new Map<number, number[]>();
    /** Lists that are not in order as they stand. */
    const unsorted = new Set<number[]>();
    for (let s = 1; s < count; s++) {
      if (section[s] <= 0 || !wanted(s)) continue;
      const list = lists.get(section[s]);
      if (!list) lists.set(section[s], [s]);
      else {
        if (value[list[list.length - 1]] > value[s]) unsorted.add(list);
        list.push(s);
      }
    }
    for (const [index, list] of lists) {
      if (unsorted.has(list)) list.sort((a, b) => value[a] - value[b] || a - b);
      this.#bySection.set(index, rangesOf(list, symbols));
    }
  }

  covers(section: number, offset: number): boolean {
    const ranges = this.#of(section);
    const last = position(ranges, offset) - 1;
    return last >= 0 && ranges.ends[last] > offset;
  }

  /** The nearest symbol at or before a place that covers it; 0 for none. Of overlapping ones a few are tried. */
  at(section: number, offset: number): number {
    const { value, size } = this.#symbols;
    const ranges = this.#of(section);
    const last = position(ranges, offset) - 1;
    for (let i = last; i >= 0 && i > last - NEAREST && ranges.ends[i] > offset; i--) {
      const symbol = ranges.symbols[i];
      if (value[symbol] + size[symbol] > offset) return symbol;
    }
    return 0;
  }

  /** Where the next symbol starts; undefined behind the last. */
  next(section: number, offset: number): number | undefined {
    const ranges = this.#of(section);
    const next = position(ranges, offset);
    return next < ranges.starts.length ? ranges.starts[next] : undefined;
  }

  #of(section: number): Ranges {
    return this.#bySection.get(section) ?? NONE;
  }
}

function rangesOf(list: readonly number[], { value, size }: SymbolTable): Ranges {
  const starts = new Int32Array(list.length);
  const ends = new Float64Array(list.length);
  let end = 0;
  for (let i = 0; i < list.length; i++) {
    const start = value[list[i]];
    starts[i] = start;
    end = Math.max(end, start + size[list[i]]);
    ends[i] = end;
  }
  return { symbols: list, starts, ends };
}

/** How many start at or before a place. */
function position({ starts }: Ranges, offset: number): number {
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle] <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

const NEAREST = 64;
