// The first difference between what two machines did, and how it is shown: lines side by side.

import { comparable } from './normalise.ts';
import type { Outcome } from './outcome.ts';

export interface Difference {
  /** Of the operation, from 0. */
  readonly index: number;
  readonly operation: string;
  readonly real: readonly string[];
  readonly emulated: readonly string[];
  /** The first line that is not the same. */
  readonly line: number;
}

/** Of the operations that both carried out, in their order. */
export function* differences(
  operations: readonly string[],
  real: readonly Outcome[],
  emulated: readonly Outcome[],
): IterableIterator<Difference> {
  const count = Math.min(real.length, emulated.length);
  for (let index = 0; index < count; index++) {
    const [a, b] = [comparable(real[index]), comparable(emulated[index])];
    const line = firstLine(a, b);
    if (line !== undefined) yield { index, operation: operations[index], real: a, emulated: b, line };
  }
}

function firstLine(a: readonly string[], b: readonly string[]): number | undefined {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return undefined;
}

const COLUMN = 70;
/** Lines before the difference, and behind it. */
const BEFORE = 6;
const AFTER = 12;

/** Both in columns, from a few lines before the difference; `>` marks lines that are not the same. */
export function sideBySide({ real, emulated, line }: Difference): string {
  const [from, to] = [Math.max(0, line - BEFORE), line + AFTER];
  const rows = [row(' ', 'real', 'emulated')];
  if (from > 0) rows.push(`  (${from} lines that are the same)`);
  const last = Math.max(real.length, emulated.length);
  for (let i = from; i < Math.min(to, last); i++)
    rows.push(row(real[i] === emulated[i] ? ' ' : '>', real[i] ?? '', emulated[i] ?? ''));
  if (last > to) rows.push(`  (${last - to} more lines)`);
  return rows.join('\n');
}

/** A line that is too long for its column stands above the other one. */
function row(mark: string, real: string, emulated: string): string {
  const [a, b] = [shown(real), shown(emulated)];
  if (a.length > COLUMN) return `${mark} ${a}\n${mark} ${' '.repeat(COLUMN)} | ${b}`;
  return `${mark} ${a.padEnd(COLUMN)} | ${b}`.trimEnd();
}

/** What a guest printed never reaches the terminal raw. */
function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (c) =>
    c === '\t' ? '    ' : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
