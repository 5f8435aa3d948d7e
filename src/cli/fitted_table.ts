// Tables that fit the terminal: without lines, the first column in as many lines as it takes, and less wanted columns
// left out where there is no room for them.
//
// Invariant: no line is wider than asked for, down to the width of the columns that are never left out.

import Table from 'cli-table3';

export interface FittedColumn {
  readonly head: string;
  /** The lowest is left out first; without one never. Only numbers that are printed elsewhere too. */
  readonly leaveOut?: number;
}

const GAP = '  ';
/** The first column is made narrower down to this before another is left out, and only then to the least. */
const WANTED = 24;
const LEAST = 12;

/** Rows of cells; the first column to the left, the others are numbers. */
export function fittedTable(
  columns: readonly FittedColumn[],
  rows: readonly (readonly string[])[],
  width: number,
): string {
  const widths = columns.map(({ head }, i) =>
    Math.max(...head.split('\n').map((line) => line.length), ...rows.map((row) => row[i].length)),
  );
  const kept = new Set(columns.keys());
  const roomFor = (): number =>
    width - [...kept].reduce((sum, i) => sum + (i === 0 ? 0 : widths[i] + GAP.length), 0);
  const dispensable = [...columns.keys()]
    .filter((i) => columns[i].leaveOut !== undefined)
    .sort((a, b) => (columns[a].leaveOut ?? 0) - (columns[b].leaveOut ?? 0));
  for (const i of dispensable) if (roomFor() < Math.min(widths[0], WANTED)) kept.delete(i);
  const first = Math.min(widths[0], Math.max(LEAST, roomFor()));
  const pick = (cells: readonly string[]): string[] =>
    [...kept].map((i) => (i === 0 ? folded(cells[0], first) : cells[i]));
  const table = new Table({
    chars: CHARS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: [...kept].map((i) => (i === 0 ? 'left' : 'right')),
    head: pick(columns.map(({ head }) => head)),
  });
  table.push(...rows.map(pick));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Lines of at most `width`, at spaces where there are any. */
function folded(text: string, width: number): string {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return [...lines, rest].join('\n');
}

const CHARS = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid'].flatMap((side) =>
    ['', '-mid', '-left', '-right'].map((corner) => [`${side}${corner}`, '']),
  ),
);
Object.assign(CHARS, { 'mid-mid': '', middle: GAP });
