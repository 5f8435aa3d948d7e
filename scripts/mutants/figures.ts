// The table of docs/mutants.md: a row for each folder, of the sample that was run last with --figures.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptError } from '../errors.ts';
import { ROOT } from '../root.ts';

export interface Figures {
  /** A folder of src/, or asm. */
  readonly of: string;
  readonly mutants: number;
  readonly seed: number;
  readonly run: number;
  /** By tests, or by sequences. */
  readonly killed: number;
  /** Of those, by tests that did not end. */
  readonly endless: number;
  /** Of those that were killed, what the tests had not noticed. */
  readonly bySequences: number;
  /** Of those that survived, which nothing can tell from the code as it is. */
  readonly equivalent: number;
}

const PAGE = join(ROOT, 'docs/mutants.md');
const HEAD =
  '| of | mutants | seed | run | killed | of them by tests that do not end | by sequences | equivalent | open | killed of those that are not equivalent |';

/** One row of the table. */
export function rowOf({ of, mutants, seed, run, killed, endless, bySequences, equivalent }: Figures): string {
  const telling = run - equivalent;
  const percent = telling === 0 ? '-' : `${Math.floor((100 * killed) / telling)} %`;
  const counts = [run, killed, endless, bySequences, equivalent, telling - killed];
  const cells = [mutants.toLocaleString('en'), seed, ...counts, percent];
  return `| \`${of}\` | ${cells.join(' | ')} |`;
}

/** @throws ScriptError where the page has no such table */
export function withRow(page: string, figures: Figures): string {
  const lines = page.split('\n');
  const head = lines.indexOf(HEAD);
  if (head < 0) throw new ScriptError(`docs/mutants.md has no table that begins with: ${HEAD}`);
  let end = head + 2;
  while (lines[end]?.startsWith('|')) end++;
  const mine = lines.findIndex((line, i) => i > head && i < end && line.startsWith(`| \`${figures.of}\` |`));
  lines.splice(mine < 0 ? end : mine, mine < 0 ? 0 : 1, rowOf(figures));
  return lines.join('\n');
}

export function writeFigures(figures: Figures): void {
  writeFileSync(PAGE, withRow(readFileSync(PAGE, 'utf8'), figures));
}
