// The sections of an uber module cut into what is never taken apart: functions, data, strings. Cuts are made where
// symbols are, and where there are none, at places that something refers to.
//
// Invariant: the atoms of a section lie side by side and are all of it; what lies between two symbols goes with the
// first of them.

import { SHF_MERGE, SHF_STRINGS, SHF_WRITE, STT_FUNC, STT_SECTION } from '../../elf/constants.ts';
import type { ElfSection, ElfSymbol } from '../../elf/elf_object.ts';
import { bySection, type Places } from './places.ts';
import { fateOf, isCode, isThisModule } from './sections.ts';

export interface Atom {
  readonly id: number;
  readonly section: ElfSection;
  /** Offsets in the section. */
  readonly start: number;
  readonly end: number;
  readonly code: boolean;
  readonly writable: boolean;
  /** What it begins with. */
  readonly symbol: ElfSymbol | undefined;
  /** For messages. */
  readonly label: string;
}

/** STT_FILE */
const NAMES_A_FILE = 4;

export class Atoms {
  readonly all: readonly Atom[];
  readonly #bySection = new Map<number, Atom[]>();
  readonly #places: Places;
  /** Offsets that something refers to, by section. */
  readonly #referred = new Map<number, Set<number>>();
  /** Those at which the reference may mean what lies behind. */
  readonly #indexed = new Map<number, Set<number>>();

  constructor(places: Places) {
    this.#places = places;
    this.#noteReferences();
    const all: Atom[] = [];
    for (const section of places.elf.sections) {
      if (fateOf(section) !== 'atoms') continue;
      const symbols = this.#symbolsOf(section);
      const cuts = this.#cutsOf(section, symbols);
      const named = new Map(symbols.map((symbol) => [Number(symbol.value), symbol]));
      const mine = cuts.map((start, i): Atom => {
        const symbol = named.get(start);
        return {
          id: all.length + i,
          section,
          start,
          end: cuts[i + 1] ?? section.size,
          code: isCode(section),
          writable: (section.flags & SHF_WRITE) !== 0,
          symbol,
          label: symbol?.name || `${section.name}+0x${start.toString(16)}`,
        };
      });
      this.#bySection.set(section.index, mine);
      all.push(...mine);
    }
    this.all = all;
  }

  of(section: number): readonly Atom[] {
    return this.#bySection.get(section) ?? [];
  }

  /** The one at an offset; at the section's end the last one. */
  at(section: number, offset: number): Atom | undefined {
    const atoms = this.of(section);
    let [low, high] = [0, atoms.length];
    while (low < high) {
      const mid = (low + high) >> 1;
      if (atoms[mid].start <= offset) low = mid + 1;
      else high = mid;
    }
    return atoms[Math.max(0, low - 1)];
  }

  #noteReferences(): void {
    for (const section of this.#places.elf.sections) {
      for (const place of this.#places.of(section)) {
        if (!place.to || !bySection(place)) continue;
        note(this.#referred, place.to.section, place.to.offset);
        if (place.indexed) note(this.#indexed, place.to.section, place.to.offset);
      }
      const code = this.#places.code(section);
      for (const { target } of code?.branches ?? []) note(this.#referred, section.index, target);
    }
  }

  /** Sorted; of several at one place the largest. */
  #symbolsOf(section: ElfSection): ElfSymbol[] {
    const symbols = this.#places.elf.symbols.filter(
      (s) => s.section === section && s.type !== STT_SECTION && s.type !== NAMES_A_FILE,
    );
    symbols.sort((a, b) => Number(a.value - b.value) || a.size - b.size || b.index - a.index);
    return isCode(section) ? symbols.filter((s) => s.type === STT_FUNC || s.bind !== 0) : symbols;
  }

  #cutsOf(section: ElfSection, symbols: readonly ElfSymbol[]): number[] {
    if (section.size === 0) return [];
    if (isThisModule(section)) return [0];
    if (section.flags & SHF_MERGE) return this.#mergedCuts(section);
    const ranges = rangesOf(symbols);
    const cuts = new Set([0, ...ranges.map(({ start }) => start)]);
    for (const offset of this.#referred.get(section.index) ?? [])
      if (offset > 0 && offset < section.size && !inside(ranges, offset)) cuts.add(offset);
    const sorted = [...cuts].filter((cut) => cut < section.size).sort((a, b) => a - b);
    const tied = this.#tied(section, sorted);
    return sorted.filter((cut) => !tied.has(cut));
  }

  #mergedCuts(section: ElfSection): number[] {
    const { flags, entsize, size } = section;
    const cuts = [0];
    if (!(flags & SHF_STRINGS)) {
      for (let at = entsize; entsize > 0 && at < size; at += entsize) cuts.push(at);
      return cuts;
    }
    if (entsize > 1) return cuts;
    const bytes = this.#places.elf.data(section);
    for (let at = 1; at < size; at++) if (bytes[at - 1] === 0 && bytes[at] !== 0) cuts.push(at);
    return cuts;
  }

  /**
   * Cuts that are not made: a reference to which a register is added, and which is not to the beginning of something,
   * may mean what comes next, from before it.
   */
  #tied(section: ElfSection, cuts: readonly number[]): ReadonlySet<number> {
    const tied = new Set<number>();
    for (const offset of this.#indexed.get(section.index) ?? []) {
      if (cuts.includes(offset)) continue;
      const next = cuts.find((cut) => cut > offset);
      if (next !== undefined) tied.add(next);
    }
    return tied;
  }
}

function note(sets: Map<number, Set<number>>, section: number, offset: number): void {
  const set = sets.get(section);
  if (set) set.add(offset);
  else sets.set(section, new Set([offset]));
}

interface Range {
  readonly start: number;
  end: number;
}

/** What symbols cover, those that lie over each other as one; and what the compiler puts before a function with it. */
function rangesOf(symbols: readonly ElfSymbol[]): Range[] {
  const ranges: Range[] = [];
  let prefix: string | undefined;
  for (const { value, size, name } of symbols) {
    const start = Number(value);
    const last = ranges.at(-1);
    if (last && (start < last.end || start === last.start || prefix === name))
      last.end = Math.max(last.end, start + size);
    else ranges.push({ start, end: start + size });
    const [, follows] = /^__(?:pfx|cfi)_(.*)$/s.exec(name) ?? [];
    prefix = follows;
  }
  return ranges;
}

/** Behind the beginning of a range, before its end. */
function inside(ranges: readonly Range[], offset: number): boolean {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (ranges[mid].start < offset) low = mid + 1;
    else high = mid;
  }
  return low > 0 && offset < ranges[low - 1].end;
}
