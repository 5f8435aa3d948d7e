// Symbols of one object, image or module, in the orders in which they are asked for: as objects, and as columns where there
// are a real kernel's 200,000 of them.
//
// Invariant: once made they do not change.

import { type Addr, hi32, lo32 } from '../guest/addr.ts';

export interface KernelSymbol {
  readonly name: string;
  readonly addr: Addr;
  /** Bytes; for text up to the next symbol where the object gives none. */
  readonly size: number;
  /** Bytes that the object gives it, where `size` goes on to the next symbol or the end of the pages. */
  readonly ownSize?: number;
  /** nm letter: T t D d B b R r ... */
  readonly type: string;
}

export interface ObjectSymbols {
  /** How many listed() has. */
  readonly count: number;
  /** As /proc/kallsyms has them: of the image ascending by address, of a module in the order of its symbol table. */
  listed(): Iterable<KernelSymbol>;
  /** The last one at or below the address, inside its size; the first of several there. */
  covering(addr: Addr): KernelSymbol | undefined;
  /** Those of a name: of the image by address, of a module in the order of its symbol table. */
  named(name: string): readonly KernelSymbol[];
  /** Those whose names are this stem, a dot, and more, by address. */
  dotted(stem: string): readonly KernelSymbol[];
}

/** Labels and symbols without size that are gone back over for one that covers an address. */
const MOST_LABELS = 16;

/** What stands before the first dot. */
export function stem(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? name : name.slice(0, dot);
}

const NONE: readonly KernelSymbol[] = [];

export class SortedSymbols implements ObjectSymbols {
  /** Ascending by address. */
  readonly symbols: readonly KernelSymbol[];
  readonly #listed: readonly KernelSymbol[];
  readonly #byName: ReadonlyMap<string, readonly KernelSymbol[]>;
  readonly #dotted: ReadonlyMap<string, readonly KernelSymbol[]>;

  /** @param listed of an object that has an order of its own: `symbols` are in it, too */
  constructor(symbols: readonly KernelSymbol[], listed?: readonly KernelSymbol[]) {
    this.symbols = [...symbols].sort((a, b) => (a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : 0));
    this.#listed = listed ?? this.symbols;
    this.#byName = grouped(listed === undefined ? this.symbols : symbols, ({ name }) => name);
    this.#dotted = grouped(
      this.symbols.filter(({ name }) => name.indexOf('.') > 0),
      ({ name }) => stem(name),
    );
  }

  get count(): number {
    return this.#listed.length;
  }

  listed(): readonly KernelSymbol[] {
    return this.#listed;
  }

  covering(addr: Addr): KernelSymbol | undefined {
    const { symbols } = this;
    const last = lastBelow(symbols.length, (i) => symbols[i].addr <= addr);
    for (let i = last; i >= 0 && i > last - MOST_LABELS; i--) {
      if (addr >= symbols[i].addr + BigInt(symbols[i].size)) continue;
      while (i > 0 && symbols[i - 1].addr === symbols[i].addr && symbols[i - 1].size > 0) i--; // the first alias
      return symbols[i];
    }
    return undefined;
  }

  named(name: string): readonly KernelSymbol[] {
    return this.#byName.get(name) ?? NONE;
  }

  dotted(name: string): readonly KernelSymbol[] {
    return this.#dotted.get(name) ?? NONE;
  }
}

/** Ascending by address. */
export interface SymbolColumns {
  readonly names: readonly string[];
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  readonly sizes: Uint32Array;
  /** Codes of nm's letters. */
  readonly types: Uint8Array;
}

const LETTERS: readonly string[] = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));

/** What hangs on names is worked out when the first name is asked for. */
export class ColumnSymbols implements ObjectSymbols {
  readonly #columns: SymbolColumns;
  readonly #made = new Map<number, KernelSymbol>();
  #byName: ReadonlyMap<string, number> | undefined;
  /** The next one of the same name; behind the last one, and of most, -1. */
  #next = new Int32Array(0);
  #dotted: ReadonlyMap<string, readonly number[]> | undefined;

  constructor(columns: SymbolColumns) {
    this.#columns = columns;
  }

  get count(): number {
    return this.#columns.names.length;
  }

  *listed(): Generator<KernelSymbol> {
    for (let i = 0; i < this.#columns.names.length; i++) yield this.#symbol(i);
  }

  covering(addr: Addr): KernelSymbol | undefined {
    const { low, high, sizes, names } = this.#columns;
    const [below, above] = [lo32(addr), hi32(addr)];
    const last = lastBelow(names.length, (i) => high[i] < above || (high[i] === above && low[i] <= below));
    const isSame = (i: number, j: number): boolean => low[i] === low[j] && high[i] === high[j];
    for (let i = last; i >= 0 && i > last - MOST_LABELS; i--) {
      if ((above - high[i]) * 2 ** 32 + (below - low[i]) >= sizes[i]) continue;
      while (i > 0 && isSame(i - 1, i) && sizes[i - 1] > 0) i--; // the first alias
      return this.#kept(i);
    }
    return undefined;
  }

  named(name: string): readonly KernelSymbol[] {
    this.#byName ??= this.#chains();
    const found: KernelSymbol[] = [];
    for (let i = this.#byName.get(name) ?? -1; i >= 0; i = this.#next[i]) found.push(this.#kept(i));
    return found;
  }

  dotted(name: string): readonly KernelSymbol[] {
    this.#dotted ??= this.#stems();
    return this.#dotted.get(name)?.map((i) => this.#kept(i)) ?? NONE;
  }

  /** The first of each name; each other one is behind the one before it. */
  #chains(): ReadonlyMap<string, number> {
    const { names } = this.#columns;
    const first = new Map<string, number>();
    const next = new Int32Array(names.length).fill(-1);
    for (let i = names.length - 1; i >= 0; i--) {
      const behind = first.get(names[i]);
      if (behind !== undefined) next[i] = behind;
      first.set(names[i], i);
    }
    this.#next = next;
    return first;
  }

  #stems(): ReadonlyMap<string, readonly number[]> {
    const stems = new Map<string, number[]>();
    this.#columns.names.forEach((name, i) => {
      if (name.indexOf('.') <= 0) return;
      const same = stems.get(stem(name));
      if (same) same.push(i);
      else stems.set(stem(name), [i]);
    });
    return stems;
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
    const { names, low, high, sizes, types } = this.#columns;
    const addr = (BigInt(high[i]) << 32n) | BigInt(low[i]);
    return { name: names[i], addr, size: sizes[i], type: LETTERS[types[i]] };
  }
}

/** The last index of which something holds that holds of all before it; -1 where there is none. */
function lastBelow(length: number, holds: (i: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (holds(mid)) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}

function grouped(symbols: readonly KernelSymbol[], by: (symbol: KernelSymbol) => string) {
  const groups = new Map<string, KernelSymbol[]>();
  for (const symbol of symbols) {
    const key = by(symbol);
    const same = groups.get(key);
    if (same) same.push(symbol);
    else groups.set(key, [symbol]);
  }
  return groups;
}
