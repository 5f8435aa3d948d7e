// The rows of unwind data for the text of a member. Mirrors orc_create() of tools/objtool/orc_gen.c in what a table has:
// a row where something changes, and one that ends each section.

import type { ElfObject, ElfSection } from '../../elf/elf_object.ts';
import type { Atom } from './atoms.ts';
import type { Places } from './places.ts';

interface OrcRow {
  /** Offset in the text. */
  readonly at: number;
  readonly entry: Uint8Array;
}

export class OrcRows {
  readonly #bySection = new Map<number, OrcRow[]>();
  /** Nothing is known there. */
  readonly undefinedEntry: Uint8Array;
  readonly ip: ElfSection;
  readonly table: ElfSection;
  /** Of the relocations of .orc_unwind_ip. */
  readonly type: number;

  private constructor(elf: ElfObject, places: Places, ip: ElfSection, table: ElfSection) {
    this.ip = ip;
    this.table = table;
    const rows = places.of(ip);
    const size = table.size / Math.max(1, ip.size / 4);
    if (!Number.isInteger(size) || rows.length !== ip.size / 4)
      throw elf.error(`${rows.length} places for ${ip.size / 4} rows of ${table.size} bytes`, ip.name);
    this.type = rows[0].type;
    this.undefinedEntry = new Uint8Array(size);
    const bytes = elf.data(table);
    for (const { offset, to } of rows) {
      if (!to || offset % 4 !== 0) throw elf.error('a row is about no text of the module', ip.name, offset);
      const entry = bytes.subarray((offset / 4) * size, (offset / 4 + 1) * size);
      const list = this.#bySection.get(to.section) ?? [];
      list.push({ at: to.offset, entry });
      this.#bySection.set(to.section, list);
    }
    for (const list of this.#bySection.values()) list.sort((a, b) => a.at - b.at);
  }

  /** Undefined in a module without. @throws ElfError */
  static of(places: Places): OrcRows | undefined {
    const { elf } = places;
    const [ip, table] = [elf.section('.orc_unwind_ip'), elf.section('.orc_unwind')];
    return ip && table && ip.size > 0 ? new OrcRows(elf, places, ip, table) : undefined;
  }

  /** What is known at the first instruction of a function. */
  startOf(atom: Atom | undefined): Uint8Array | undefined {
    const all = this.#bySection.get(atom?.section.index ?? 0);
    return atom && all?.[lastBefore(all, atom.start)]?.entry;
  }

  /**
   * Of one section of a member's text.
   * @param atoms in order, @param startOf where each of them is now, @param size of the section
   */
  rowsFor(
    section: ElfSection,
    atoms: readonly Atom[],
    startOf: (atom: Atom) => number,
    size: number,
  ): OrcRow[] {
    const all = this.#bySection.get(section.index) ?? [];
    const rows: OrcRow[] = [];
    const add = (at: number, entry: Uint8Array): void => {
      const last = rows.at(-1)?.entry;
      if (last && Buffer.compare(last, entry) === 0) return;
      rows.push({ at, entry });
    };
    let end = 0;
    for (const atom of atoms) {
      const start = startOf(atom);
      if (start > end && all.length > 0) add(end, this.undefinedEntry);
      const first = lastBefore(all, atom.start);
      if (first >= 0) add(start, all[first].entry);
      else if (rows.length > 0) add(start, this.undefinedEntry);
      for (let i = first + 1; i < all.length && all[i].at < atom.end; i++)
        add(start + all[i].at - atom.start, all[i].entry);
      end = start + atom.end - atom.start;
    }
    if (all.at(-1)?.at === section.size) rows.push({ at: size, entry: (all.at(-1) as OrcRow).entry });
    return rows;
  }
}

/** The last row at or before an offset; -1 for none. */
function lastBefore(rows: readonly OrcRow[], at: number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (rows[mid].at <= at) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}
