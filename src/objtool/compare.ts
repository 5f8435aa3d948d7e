// Whether two tables of one object say the same: not byte by byte of the sections, but for
// every byte of the text.
//
// Invariant: entries are taken as the kernel takes them (orc_sort_cmp: at one address a real
// entry beats a terminator), and an entry that repeats the one before counts for nothing.

import { isWeakTerminator, ORC_END } from '../elf/orc.ts';
import type { ObjtoolInput } from './input.ts';
import type { OrcRows } from './orc_rows.ts';

/** Text for which two tables differ in one way. */
export interface OrcDifference {
  readonly section: number;
  readonly start: number;
  readonly end: number;
  /** Rows of the two tables; -1 before a section's first. */
  readonly ours: number;
  readonly theirs: number;
}

/** The sections that have entries, and their sizes: text, without what only stands in for it. */
export function comparedText(input: ObjtoolInput): Map<number, number> {
  const sizes = new Map<number, number>();
  input.sections.forEach(({ text, replacement, bytes }, i) => {
    if (text && !replacement) sizes.set(i, bytes.length);
  });
  return sizes;
}

/** Rows of one section in the kernel's order. */
function sectionRows(rows: OrcRows): Map<number, number[]> {
  const bySection = new Map<number, number[]>();
  const unsorted = new Set<number>();
  let list: number[] = [];
  for (let i = 0, last = -1; i < rows.count; i++) {
    const section = rows.section[i];
    if (section !== last) {
      list = bySection.get(section) ?? [];
      bySection.set(section, list);
      last = section;
    }
    const before = list.at(-1);
    if (before !== undefined && rows.offset[before] >= rows.offset[i]) unsorted.add(section);
    list.push(i);
  }
  const strength = (i: number): number => (isWeakTerminator(rows.flags[i]) ? 0 : 1);
  for (const section of unsorted) {
    bySection
      .get(section)
      ?.sort((a, b) => rows.offset[a] - rows.offset[b] || strength(a) - strength(b) || a - b);
  }
  return bySection;
}

/** Undefined answers are equal whatever else they hold. */
function sameAnswer(a: OrcRows, i: number, b: OrcRows, j: number): boolean {
  const [first, second] = [i < 0 ? 0 : a.flags[i], j < 0 ? 0 : b.flags[j]];
  if ((first & 0xf) === 0 && (second & 0xf) === 0) return (first & ORC_END) === (second & ORC_END);
  if (i < 0 || j < 0 || first !== second || a.spOffset[i] !== b.spOffset[j]) return false;
  return a.fpOffset[i] === b.fpOffset[j] || (first & 0xf0) === 0;
}

/** Where the answers differ, by section in order; `limits` has the size of each section that is compared. */
export function compareOrc(
  ours: OrcRows,
  theirs: OrcRows,
  limits: ReadonlyMap<number, number>,
): OrcDifference[] {
  const out: OrcDifference[] = [];
  const [first, second] = [sectionRows(ours), sectionRows(theirs)];
  for (const [section, limit] of limits) {
    compareSection(ours, first.get(section) ?? [], theirs, second.get(section) ?? [], section, limit, out);
  }
  return out;
}

function compareSection(
  ours: OrcRows,
  a: readonly number[],
  theirs: OrcRows,
  b: readonly number[],
  section: number,
  limit: number,
  out: OrcDifference[],
): void {
  let [i, j] = [0, 0];
  let [our, their] = [-1, -1];
  for (let at = 0; at < limit; ) {
    while (i < a.length && ours.offset[a[i]] <= at) our = a[i++];
    while (j < b.length && theirs.offset[b[j]] <= at) their = b[j++];
    const next = Math.min(
      i < a.length ? ours.offset[a[i]] : limit,
      j < b.length ? theirs.offset[b[j]] : limit,
      limit,
    );
    if (!sameAnswer(ours, our, theirs, their))
      add(out, { section, start: at, end: next, ours: our, theirs: their });
    at = next;
  }
}

function add(out: OrcDifference[], difference: OrcDifference): void {
  const last = out.at(-1);
  if (
    last &&
    last.section === difference.section &&
    last.end === difference.start &&
    last.ours === difference.ours &&
    last.theirs === difference.theirs
  ) {
    out[out.length - 1] = { ...last, end: difference.end };
  } else out.push(difference);
}
