// Symbols of one object, image or module, in the orders in which they are asked for.
//
// Invariant: once made they do not change.

import type { Addr } from '../guest/addr.ts';
import type { SymbolLines } from './symbol_lines.ts';

export interface KernelSymbol {
  readonly name: string;
  readonly addr: Addr;
  /** Bytes; for text up to the next symbol where the object gives none. */
  readonly size: number;
  /** Bytes that the object gives it, where `size` goes on to the next symbol or the end of the pages. */
  readonly ownSize?: number;
  /** What the kernel says that its size is, where it reckons with another end: of a module's data with that of its text. */
  readonly toldSize?: bigint;
  /** nm letter: T t D d B b R r ... */
  readonly type: string;
}

export interface ObjectSymbols {
  /** How many listed() has. */
  readonly count: number;
  /** As /proc/kallsyms has them: of the image ascending by address, of a module in the order of its symbol table. */
  listed(): Iterable<KernelSymbol>;
  /** Lines of /proc/kallsyms of them. @param behind each name */
  show(lines: SymbolLines, behind: string): void;
  /** The last one at or below the address, inside its size; the first of several there. */
  covering(addr: Addr): KernelSymbol | undefined;
  /** How far behind the beginning of what covers it the address is; undefined where nothing does. */
  offsetAt(addr: Addr): number | undefined;
  /** Those of a name: of the image by address, of a module in the order of its symbol table. */
  named(name: string): readonly KernelSymbol[];
  /** Those whose names are this stem, a dot, and more, by address. */
  dotted(stem: string): readonly KernelSymbol[];
}

/** Labels and symbols without size that are gone back over for one that covers an address. */
export const MOST_LABELS = 16;

/** What stands before the first dot. */
export function stem(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? name : name.slice(0, dot);
}

const NONE: readonly KernelSymbol[] = [];

export class SortedSymbols implements ObjectSymbols {
  /** Ascending by address; of an object that has an order of its own those that cover something. */
  readonly symbols: readonly KernelSymbol[];
  readonly #listed: readonly KernelSymbol[];
  readonly #byName: ReadonlyMap<string, readonly KernelSymbol[]>;
  readonly #dotted: ReadonlyMap<string, readonly KernelSymbol[]>;

  /** @param listed of an object that has an order of its own: `symbols` are in it, too */
  constructor(symbols: readonly KernelSymbol[], listed?: readonly KernelSymbol[]) {
    const sorted = [...symbols].sort((a, b) => (a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : 0));
    this.symbols = listed === undefined ? sorted : sorted.filter(({ size }) => size > 0);
    this.#listed = listed ?? sorted;
    this.#byName = grouped(listed === undefined ? sorted : symbols, ({ name }) => name);
    this.#dotted = grouped(
      sorted.filter(({ name }) => name.indexOf('.') > 0),
      ({ name }) => stem(name),
    );
  }

  get count(): number {
    return this.#listed.length;
  }

  listed(): readonly KernelSymbol[] {
    return this.#listed;
  }

  show(lines: SymbolLines, behind: string): void {
    for (const { addr, type, name } of this.#listed) lines.add(addr, type, `${name}${behind}`);
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

  offsetAt(addr: Addr): number | undefined {
    const found = this.covering(addr);
    return found && Number(addr - found.addr);
  }

  named(name: string): readonly KernelSymbol[] {
    return this.#byName.get(name) ?? NONE;
  }

  dotted(name: string): readonly KernelSymbol[] {
    return this.#dotted.get(name) ?? NONE;
  }
}

/** The last index of which something holds that holds of all before it; -1 where there is none. */
export function lastBelow(length: number, holds: (i: number) => boolean): number {
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
