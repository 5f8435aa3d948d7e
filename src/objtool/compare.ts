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

/** Of rows that somebody still has. */
const ordered = new WeakMap<OrcRows, ReadonlyMap<number, Int32Array>>();

/** Numbers of rows, by section in the kernel's order. */
export function sectionRows(rows: OrcRows): ReadonlyMap<number, Int32Array> {
  let found = ordered.get(rows);
  if (!found) {
    found = sortedRows(rows);
    ordered.set(rows, found);
  }
  return found;
}

function sortedRows({ count, section, offset, flags }: OrcRows): Map<number, Int32Array> {
  const bySection = new Map<number, Int32Array>();
  const strength = (i: number): number => (isWeakTerminator(flags[i]) ? 0 : 1);
  const sizes = new Map<number, number>();
  for (let from = 0, to = 0; from < count; from = to) {
    while (to < count && section[to] === section[from]) to++;
    sizes.set(section[from], (sizes.get(section[from]) ?? 0) + to - from);
  }
  const filled = new Map<number, number>();
  for (let from = 0, to = 0; from < count; from = to) {
    const index = section[from];
    const list = bySection.get(index) ?? new Int32Array(sizes.get(index) ?? 0);
    bySection.set(index, list);
    let at = filled.get(index) ?? 0;
    for (; to < count && section[to] === index; to++) list[at++] = to;
    filled.set(index, at);
  }
  for (const list of bySection.values()) {
    let last = 1;
    while (last < list.length && offset[list[last - 1]] < offset[list[last]]) last++;
    if (last < list.length) list.sort((a, b) => offset[a] - offset[b] || strength(a) - strength(b) || a - b);
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
    const [a, b] = [first.get(section) ?? NO_ROWS, second.get(section) ?? NO_ROWS];
    compareSection(ours, a, theirs, b, section, limit, out);
  }
  return out;
}

const NO_ROWS = new Int32Array(0);

function compareSection(
  ours: OrcRows,
  a: Int32Array,
  theirs: OrcRows,
  b: Int32Array,
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
