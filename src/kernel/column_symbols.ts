// A real kernel's 200,000 symbols, as columns, and behind them those of what the machine has of its own: one object's.
//
// Invariants: once made they do not change; a symbol that is hidden is nowhere. Of a name that the kernel has, there are as
// many as it has, in its order: an own one is in the place of the one that it stands for.

import { type Addr, hi32, lo32 } from '../guest/addr.ts';
import {
  type KernelSymbol,
  lastBelow,
  MOST_LABELS,
  type ObjectSymbols,
  type SortedSymbols,
} from './object_symbols.ts';
import type { PackedNames } from './packed_names.ts';
import type { SymbolLines } from './symbol_lines.ts';

/** Ascending by address. */
export interface SymbolColumns {
  readonly names: PackedNames;
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  /** Codes of nm's letters. */
  readonly types: Uint8Array;
}

const LETTERS: readonly string[] = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));

/** As kallsyms has it, a symbol reaches to the next address that has one. No address is in a per-CPU symbol: it is an offset. */
function sizeInColumns({ low, high }: SymbolColumns, i: number): number {
  if (high[i] === 0) return 0;
  let end = i + 1;
  while (end < low.length && low[end] === low[i] && high[end] === high[i]) end++;
  return end < low.length ? low[end] - low[i] : 0;
}

export class ColumnSymbols implements ObjectSymbols {
  readonly #columns: SymbolColumns;
  readonly #hidden: ReadonlyMap<number, KernelSymbol>;
  readonly #own: SortedSymbols;
  readonly #made = new Map<number, KernelSymbol>();

  /**
   * @param own symbols of the same object beside those of the columns
   * @param hidden numbers of those that own ones stand for, with these
   */
  constructor(columns: SymbolColumns, own: SortedSymbols, hidden: ReadonlyMap<number, KernelSymbol>) {
    this.#columns = columns;
    this.#own = own;
    this.#hidden = hidden;
  }

  get count(): number {
    return this.#columns.low.length - this.#hidden.size + this.#own.count;
  }

  *listed(): Generator<KernelSymbol> {
    const { low, high } = this.#columns;
    const own = this.#own.symbols;
    let next = 0;
    for (let i = 0; i < low.length; i++) {
      while (next < own.length && isBelow(own[next].addr, low[i], high[i])) yield own[next++];
      if (!this.#hidden.has(i)) yield this.#symbol(i);
    }
    while (next < own.length) yield own[next++];
  }

  show(lines: SymbolLines, behind: string): void {
    const { names, low, high, types } = this.#columns;
    const own = this.#own.symbols;
    const addOwn = ({ addr, type, name }: KernelSymbol): void => lines.add(addr, type, `${name}${behind}`);
    let next = 0;
    for (let i = 0; i < low.length; i++) {
      while (next < own.length && isBelow(own[next].addr, low[i], high[i])) addOwn(own[next++]);
      if (!this.#hidden.has(i)) lines.addBytes(high[i], low[i], types[i], names, i, behind);
    }
    while (next < own.length) addOwn(own[next++]);
  }

  covering(addr: Addr): KernelSymbol | undefined {
    const own = this.#own.covering(addr);
    if (own) return own;
    const i = this.#covering(lo32(addr), hi32(addr));
    return i < 0 ? undefined : this.#kept(i);
  }

  offsetAt(addr: Addr): number | undefined {
    const own = this.#own.offsetAt(addr);
    if (own !== undefined) return own;
    const i = this.#covering(lo32(addr), hi32(addr));
    const { low, high } = this.#columns;
    return i < 0 ? undefined : (hi32(addr) - high[i]) * 2 ** 32 + (lo32(addr) - low[i]);
  }

  #covering(below: number, above: number): number {
    const { low, high } = this.#columns;
    const last = lastBelow(low.length, (i) => high[i] < above || (high[i] === above && low[i] <= below));
    for (let i = last; i >= 0 && i > last - MOST_LABELS; i--) {
      if (this.#hidden.has(i)) continue;
      if ((above - high[i]) * 2 ** 32 + (below - low[i]) >= sizeInColumns(this.#columns, i)) continue;
      let first = i;
      for (let j = i - 1; j >= 0 && low[j] === low[i] && high[j] === high[i]; j--)
        if (!this.#hidden.has(j)) first = j;
      return first;
    }
    return -1;
  }

  named(name: string): readonly KernelSymbol[] {
    return this.#joined(this.#columns.names.numbers(name), this.#own.named(name));
  }

  dotted(stem: string): readonly KernelSymbol[] {
    return this.#joined(this.#columns.names.withStem(stem), this.#own.dotted(stem));
  }

  /** In the kernel's order, which a sympos counts in; own ones whose names it has not are behind them. */
  #joined(numbers: readonly number[], own: readonly KernelSymbol[]): readonly KernelSymbol[] {
    const found = numbers.map((i) => this.#hidden.get(i) ?? this.#kept(i));
    if (own.length === 0) return found;
    return [...found, ...own.filter(({ name }) => this.#columns.names.numbers(name).length === 0)];
  }

  /** What was asked for by name or address is the same object each time. */
  #kept(i: number): KernelSymbol {
    const known = this.#made.get(i);
    if (known) return known;
    const symbol = this.#symbol(i);
    this.#made.set(i, symbol);
    return symbol;
  }

  #symbol(i: number): KernelSymbol {
    const { names, low, high, types } = this.#columns;
    const addr = (BigInt(high[i]) << 32n) | BigInt(low[i]);
    return { name: names.at(i), addr, size: sizeInColumns(this.#columns, i), type: LETTERS[types[i]] };
  }
}

const isBelow = (addr: Addr, low: number, high: number): boolean =>
  hi32(addr) < high || (hi32(addr) === high && lo32(addr) < low);
