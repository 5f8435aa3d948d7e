// Tables that fit the terminal: without lines, text in as many lines as it takes, and what there is no room for beside
// the rest in a second table under the first.
//
// Invariant: no line is wider than asked for, down to the first column and one of numbers.

import Table from 'cli-table3';
import { fold } from './terminal.ts';

export interface FittedColumn {
  readonly head: string;
  /** Text, as the first column is, which is folded down to this width before others have to go; others are numbers. */
  readonly text?: number;
  /** The lowest is left out first; without one never. Only numbers that are printed elsewhere too. */
  readonly leaveOut?: number;
}

/** Between columns: tight rather than in two tables. */
const GAP = 2;
const TIGHT = 1;
/** The first column is folded down to this before another is left out or goes below, and only then to the least. */
const WANTED = 24;
const LEAST = 12;

type Rows = readonly (readonly string[])[];

interface Block {
  /** Columns by number; the first is in every block. */
  readonly kept: readonly number[];
  readonly widths: readonly number[];
  readonly gap: number;
}

/** Rows of cells. @param paint for the lines of the heading */
export function fittedTable(
  columns: readonly FittedColumn[],
  rows: Rows,
  width: number,
  paint: (line: string) => string = (line) => line,
): string {
  const widths = columns.map(({ head }, i) => Math.max(...[head, ...rows.map((row) => row[i])].map(widest)));
  const blocks = blocksOf(columns, widths, width);
  return blocks.map((block) => tableOf(columns, rows, block, paint)).join('\n\n');
}

const widest = (cell: string): number => Math.max(...cell.split('\n').map((line) => line.length));

function blocksOf(columns: readonly FittedColumn[], widths: readonly number[], width: number): Block[] {
  const kept = new Set(columns.keys());
  const dispensable = [...columns.keys()]
    .filter((i) => columns[i].leaveOut !== undefined)
    .sort((a, b) => (columns[a].leaveOut ?? 0) - (columns[b].leaveOut ?? 0));
  for (;;) {
    const block = fitted(columns, widths, [...kept], width, GAP);
    if (block) return [block];
    const out = dispensable.shift();
    if (out === undefined) break;
    kept.delete(out);
  }
  const tight = fitted(columns, widths, [...kept], width, TIGHT);
  return tight ? [tight] : belowEachOther(columns, widths, [...kept], width);
}

/** As many columns as fit, and the others below. */
function belowEachOther(
  columns: readonly FittedColumn[],
  widths: readonly number[],
  [first, ...others]: readonly number[],
  width: number,
): Block[] {
  const blocks: Block[] = [];
  for (let rest = others; rest.length > 0; ) {
    const sizes = [...rest.keys()].map((i) => rest.length - i);
    const found = sizes.map((n) => fitted(columns, widths, [first, ...rest.slice(0, n)], width, GAP));
    const block = found.find((one) => one !== undefined) ?? least(columns, widths, [first, rest[0]], width);
    blocks.push(block);
    rest = rest.slice(block.kept.length - 1);
  }
  return blocks;
}

/** Width that the text of a column is to have at least; undefined for numbers. */
const wanted = (columns: readonly FittedColumn[], i: number): number | undefined =>
  columns[i].text ?? (i === 0 ? WANTED : undefined);

/** These columns in the width, with text as wide as wanted; undefined: there is no room. */
function fitted(
  columns: readonly FittedColumn[],
  widths: readonly number[],
  kept: readonly number[],
  width: number,
  gap: number,
): Block | undefined {
  const narrow = [...widths];
  const total = (): number => kept.reduce((sum, i) => sum + narrow[i], gap * (kept.length - 1));
  while (total() > width) {
    const text = kept.filter((i) => narrow[i] > (wanted(columns, i) ?? narrow[i]));
    if (text.length === 0) return undefined;
    narrow[text.reduce((a, b) => (narrow[b] > narrow[a] ? b : a))]--;
  }
  return { kept, widths: narrow, gap };
}

function least(
  columns: readonly FittedColumn[],
  widths: readonly number[],
  kept: readonly [number, number],
  width: number,
): Block {
  const [first, other] = kept;
  const narrow = [...widths];
  narrow[first] = Math.min(widths[first], Math.max(LEAST, width - GAP - widths[other]));
  if (columns[other].text)
    narrow[other] = Math.min(widths[other], Math.max(LEAST, width - GAP - narrow[first]));
  return { kept, widths: narrow, gap: GAP };
}

function tableOf(
  columns: readonly FittedColumn[],
  rows: Rows,
  { kept, widths, gap }: Block,
  paint: (line: string) => string,
): string {
  const pick = (cells: readonly string[]): string[] =>
    kept.map((i) => (wanted(columns, i) ? foldedCell(cells[i], widths[i], i === 0 ? 0 : HANG) : cells[i]));
  const head = pick(columns.map((column) => column.head));
  const table = new Table({
    chars: { ...CHARS, middle: ' '.repeat(gap) },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: kept.map((i) => (wanted(columns, i) ? 'left' : 'right')),
    head,
  });
  table.push(...rows.map(pick));
  const height = Math.max(...head.map((cell) => cell.split('\n').length));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .map((line, i) => (i < height ? paint(line) : line))
    .join('\n');
}

/** Of a cell that is a list, to be told from its next line. */
const HANG = 2;

function foldedCell(cell: string, width: number, hang: number): string {
  const lines = cell.split('\n');
  return lines.map((line) => fold(line, width, lines.length > 1 ? hang : 0)).join('\n');
}

const CHARS = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid'].flatMap((side) =>
    ['', '-mid', '-left', '-right'].map((corner) => [`${side}${corner}`, '']),
  ),
);
CHARS['mid-mid'] = '';
