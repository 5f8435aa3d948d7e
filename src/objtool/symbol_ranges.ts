// Which symbols cover a place of a section.
//
// Invariant: looking up takes a logarithm of the symbols, however they overlap.

import type { SymbolTable } from './input.ts';

interface Range {
  readonly symbol: number;
  readonly start: number;
  /** The farthest end of this symbol and those before it. */
  readonly end: number;
}

export class SymbolRanges {
  readonly #symbols: SymbolTable;
  readonly #bySection = new Map<number, Range[]>();

  /** Of the symbols that `wanted` takes. */
  constructor(symbols: SymbolTable, wanted: (symbol: number) => boolean) {
    this.#symbols = symbols;
    const { count, section, value, size } = symbols;
    const lists = new Map<number, number[]>();
    for (let s = 1; s < count; s++) {
      if (section[s] <= 0 || !wanted(s)) continue;
      const list = lists.get(section[s]);
      if (list) list.push(s);
      else lists.set(section[s], [s]);
    }
    for (const [index, list] of lists) {
      let end = 0;
      list.sort((a, b) => value[a] - value[b] || a - b);
      const ranges = list.map((symbol) => {
        end = Math.max(end, value[symbol] + size[symbol]);
        return { symbol, start: value[symbol], end };
      });
      this.#bySection.set(index, ranges);
    }
  }

  covers(section: number, offset: number): boolean {
    return (this.#bySection.get(section)?.[this.#position(section, offset) - 1]?.end ?? 0) > offset;
  }

  /** The nearest symbol at or before a place that covers it; 0 for none. Of overlapping ones a few are tried. */
  at(section: number, offset: number): number {
    const { value, size } = this.#symbols;
    const ranges = this.#bySection.get(section) ?? [];
    const last = this.#position(section, offset) - 1;
    for (let i = last; i >= 0 && i > last - NEAREST && ranges[i].end > offset; i--) {
      const { symbol } = ranges[i];
      if (value[symbol] + size[symbol] > offset) return symbol;
    }
    return 0;
  }

  /** Where the next symbol starts; undefined behind the last. */
  next(section: number, offset: number): number | undefined {
    return this.#bySection.get(section)?.[this.#position(section, offset)]?.start;
  }

  /** How many start at or before a place. */
  #position(section: number, offset: number): number {
    const list = this.#bySection.get(section) ?? [];
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle].start <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const NEAREST = 64;
