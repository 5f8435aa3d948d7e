// ORC entries of an object that has no addresses yet: by section and offset.
//
// Invariant: rows of one section are consecutive and rise.

import { ORC_SIGNAL, type OrcColumns, type OrcTable, sortOrcTable } from '../elf/orc.ts';

export interface OrcRows extends OrcColumns {
  readonly count: number;
  /** Index of the section in its object. */
  readonly section: Uint32Array;
  readonly offset: Int32Array;
}

/** Looks up rows by place. */
export class OrcRowFinder {
  readonly #rows: OrcRows;
  /** By section. */
  readonly #first = new Map<number, number>();

  constructor(rows: OrcRows) {
    this.#rows = rows;
    for (let row = rows.count - 1; row >= 0; row--) this.#first.set(rows.section[row], row);
  }

  /** The one in force at a place; -1 for none. */
  at(section: number, offset: number): number {
    const { section: sections, offset: offsets, count } = this.#rows;
    const first = this.#first.get(section);
    if (first === undefined) return -1;
    let [low, high] = [first, count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      // Sections are not in order, and of one its rows are together.
      if (sections[middle] === section && offsets[middle] <= offset) low = middle + 1;
      else high = middle;
    }
    return low > first ? low - 1 : -1;
  }
}

export class OrcRowsBuilder {
  count = 0;
  section = new Uint32Array(1024);
  offset = new Int32Array(1024);
  spOffset = new Int16Array(1024);
  fpOffset = new Int16Array(1024);
  flags = new Uint16Array(1024);

  /** Its number. */
  add(section: number, offset: number, spOffset = 0, fpOffset = 0, flags = 0): number {
    const at = this.count++;
    if (at === this.section.length) this.#grow();
    this.section[at] = section;
    this.offset[at] = offset;
    this.spOffset[at] = spOffset;
    this.fpOffset[at] = fpOffset;
    this.flags[at] = flags;
    return at;
  }

  finish(): OrcRows {
    const { count } = this;
    return {
      count,
      section: this.section.slice(0, count),
      offset: this.offset.slice(0, count),
      spOffset: this.spOffset.slice(0, count),
      fpOffset: this.fpOffset.slice(0, count),
      flags: this.flags.slice(0, count),
    };
  }

  #grow(): void {
    const room = this.section.length * 2;
    const larger = <T extends Uint32Array | Uint16Array | Int32Array | Int16Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.section = larger(this.section, new Uint32Array(room));
    this.offset = larger(this.offset, new Int32Array(room));
    this.spOffset = larger(this.spOffset, new Int16Array(room));
    this.fpOffset = larger(this.fpOffset, new Int16Array(room));
    this.flags = larger(this.flags, new Uint16Array(room));
  }
}

export function isSameRows(a: OrcRows, b: OrcRows): boolean {
  for (let i = 0; i < a.count; i++) {
    if (a.section[i] !== b.section[i] || a.offset[i] !== b.offset[i] || a.flags[i] !== b.flags[i])
      return false;
    if (a.spOffset[i] !== b.spOffset[i] || a.fpOffset[i] !== b.fpOffset[i]) return false;
  }
  return a.count === b.count;
}

/** The rows as the kernel has them once the sections have addresses. */
export function rowsAt(rows: OrcRows, addrOf: (section: number) => bigint): OrcTable {
  const { count, section, offset } = rows;
  const ip = new Uint32Array(count);
  let last = -1;
  let base = 0;
  for (let i = 0; i < count; i++) {
    if (section[i] !== last) {
      last = section[i];
      base = Number(BigInt.asUintN(32, addrOf(last)));
    }
    ip[i] = base + offset[i];
  }
  const { spOffset, fpOffset, flags } = rows;
  return sortOrcTable({ count, ip, spOffset, fpOffset, flags: flags.map((f) => f & ~ORC_SIGNAL) });
}
