// All rows of an object's frame tables where its text lies in memory, and the row in force at an address.
//
// Invariant: functions do not overlap; outside of them, and where nothing is said, there is no row.

import type { ElfObject } from '../elf/elf_object.ts';
import {
  type FrameRegisters,
  type FrameRow,
  type FunctionFrames,
  type ObjectFrames,
  rowText,
} from './rows.ts';

/** By address, low halves; rows are in force up to the next one, or where their function ends. */
export class FrameTable {
  /** Of each row where it begins. */
  readonly #from: Uint32Array;
  readonly #row: Int32Array;
  readonly rows: readonly FrameRow[];
  /** Functions in order, and where they lie. */
  readonly #functions: readonly FunctionFrames[];
  readonly #starts: Uint32Array;

  private constructor(
    from: Uint32Array,
    row: Int32Array,
    rows: readonly FrameRow[],
    functions: readonly FunctionFrames[],
    starts: Uint32Array,
  ) {
    this.#from = from;
    this.#row = row;
    this.rows = rows;
    this.#functions = functions;
    this.#starts = starts;
  }

  /** `startOf`: low half of a section's address, 0 for one that is not in memory. @throws ElfError */
  static of(
    elf: ElfObject,
    { functions, registers }: ObjectFrames,
    startOf: (section: number) => number,
  ): FrameTable {
    const placed = functions
      .filter(({ section, size }) => startOf(section) !== 0 && size > 0)
      .map((func) => ({ func, start: startOf(func.section) + func.start }))
      .sort((a, b) => a.start - b.start);
    const columns = new Columns(registers);
    let end = 0;
    for (const { func, start } of placed) {
      if (start < end) throw elf.error('two functions of the table overlap', func.table, func.at);
      if (start > end) columns.add(end, undefined);
      columns.add(start, undefined);
      func.eachRow((offset, row) => {
        columns.add(start + offset, row());
        if (columns.isTooLarge) throw elf.error('more rows than any kernel has', func.table, func.at);
        return 'more';
      });
      end = start + func.size;
    }
    columns.add(end, undefined);
    return new FrameTable(
      Uint32Array.from(columns.from),
      Int32Array.from(columns.row),
      columns.rows,
      placed.map(({ func }) => func),
      Uint32Array.from(placed, ({ start }) => start),
    );
  }

  /** The number of the row in force at an address (signed or unsigned low half), -1 for none. */
  find(ip: number): number {
    const at = lastUpTo(this.#from, ip >>> 0);
    return at < 0 ? -1 : this.#row[at];
  }

  /** The same by reading the function's description, as an unwinder does that has nothing but the table's bytes. */
  read(ip: number): FrameRow | undefined {
    const address = ip >>> 0;
    const at = lastUpTo(this.#starts, address);
    if (at < 0 || address - this.#starts[at] >= this.#functions[at].size) return undefined;
    const offset = address - this.#starts[at];
    let last: (() => FrameRow | undefined) | undefined;
    this.#functions[at].eachRow((from, row) => {
      if (from > offset) return 'enough';
      last = row;
      return 'more';
    });
    return last?.();
  }
}

/** Index of the last number that is not above; -1 for none. */
function lastUpTo(numbers: Uint32Array, limit: number): number {
  let [first, last] = [0, numbers.length - 1];
  while (first <= last) {
    const middle = (first + last) >>> 1;
    if (numbers[middle] <= limit) first = middle + 1;
    else last = middle - 1;
  }
  return last;
}

/** Places where another row begins: several times those of a whole kernel. */
const MOST_PLACES = 1 << 24;
/**
 * Letters of all rows that differ, each as reports have it: what they take in memory goes with that, and what it takes to
 * tell them apart with its square, where they are very long (V8 hashes those by their length alone).
 */
const MOST_TEXT = 16 << 20;

class Columns {
  readonly #registers: FrameRegisters;
  readonly from: number[] = [];
  readonly row: number[] = [];
  readonly rows: FrameRow[] = [];
  readonly #known = new Map<string, number>();
  #text = 0;

  /** Whether it is more than any kernel's tables are. */
  get isTooLarge(): boolean {
    return this.from.length > MOST_PLACES || this.#text > MOST_TEXT;
  }

  constructor(registers: FrameRegisters) {
    this.#registers = registers;
  }

  add(from: number, row: FrameRow | undefined): void {
    const number = row ? this.#numberOf(row) : -1;
    const last = this.from.length - 1;
    if (last >= 0 && this.from[last] === from) this.row[last] = number;
    else if (last < 0 || this.row[last] !== number) {
      this.from.push(from);
      this.row.push(number);
    }
  }

  #numberOf(row: FrameRow): number {
    const text = rowText(row, this.#registers);
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    this.#known.set(text, this.rows.length);
    this.#text += text.length;
    return this.rows.push(row) - 1;
  }
}
