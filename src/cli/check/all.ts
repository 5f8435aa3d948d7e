// `klpemu check --unwinder all`: the same code by every unwinder, side by side, as a porter wants it.

import { UNWINDERS, type Unwinder } from '../../check/verdicts.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { counted, percent, whole } from '../numbers.ts';
import { resourcesUsed } from '../resources.ts';
import { type Colors, colorsFor, print, printError, printFolded, tableColumns } from '../terminal.ts';
import type { CheckReport } from './file.ts';
import { named } from './report.ts';

const NAMES: Readonly<Record<Unwinder, string>> = {
  orc: 'ORC',
  fp: 'frame pointers',
  sframe: 'SFrame',
  dwarf: 'DWARF',
};

const COUNTS = ['instructions', 'reached', 'right', 'unreliable', 'wrong'] as const;

interface UnwinderSums extends Record<(typeof COUNTS)[number] | 'objects' | 'without' | 'failed', number> {
  readonly unwinder: Unwinder;
  /** With the version of its tables, where all have one. */
  readonly name: string;
  /** Of tables, of the objects that have them. */
  readonly tableBytes: number;
  /** Undefined where nothing was measured. */
  readonly nsAFrame: number | undefined;
}

function sumsByUnwinder(reports: readonly CheckReport[]): UnwinderSums[] {
  return UNWINDERS.map((unwinder) => {
    const own = reports.filter((report) => report.unwinder === unwinder);
    const checks = own.flatMap(({ check }) => check ?? []);
    const sum = (of: (report: CheckReport) => number | undefined): number =>
      own.reduce((total, report) => total + (of(report) ?? 0), 0);
    const tables = new Set(checks.map(({ table }) => table));
    const [table] = tables;
    const frames = sum(({ check }) => check?.frameTime?.frames);
    const counts = Object.fromEntries(COUNTS.map((name) => [name, sum(({ check }) => check?.[name])]));
    return {
      unwinder,
      name: tables.size === 1 && table ? table : NAMES[unwinder],
      ...(counts as Record<(typeof COUNTS)[number], number>),
      objects: checks.length,
      without: own.filter(({ missing }) => missing).length,
      failed: own.filter(({ error }) => error).length,
      tableBytes: sum(({ check, tableBytes }) => (check ? tableBytes : 0)),
      nsAFrame: frames > 0 ? sum(({ check }) => check?.frameTime?.ns) / frames : undefined,
    };
  });
}

const COLUMNS: readonly FittedColumn[] = [
  { head: 'unwinder' },
  { head: 'objects', leaveOut: 1 },
  { head: 'insns' },
  { head: 'covered' },
  { head: 'right' },
  { head: 'wrong,\nunreliable' },
  { head: 'wrong,\nreliable' },
  { head: 'table bytes\nan insn' },
  { head: 'ns a\nframe' },
];

export function printAll(
  reports: readonly CheckReport[],
  { json = false, ms }: { readonly json?: boolean; readonly ms: number },
): void {
  const sums = sumsByUnwinder(reports);
  if (json) {
    const summary = { unwinders: sums, ms: Math.round(ms), ...resourcesUsed() };
    print(`${JSON.stringify({ objects: reports, summary }, named)}\n`);
    return;
  }
  const rows = sums.map((row) => [
    row.name,
    whole(row.objects),
    whole(row.instructions),
    percent(row.reached, row.instructions),
    ...[row.right, row.unreliable, row.wrong].map(whole),
    row.instructions > 0 ? (row.tableBytes / row.instructions).toFixed(2) : '-',
    row.nsAFrame === undefined ? '-' : whole(Math.round(row.nsAFrame)),
  ]);
  const lines = [fittedTable(COLUMNS, rows, tableColumns())];
  for (const row of sums) lines.push(...remarks(row, reports, colorsFor(process.stdout)));
  lines.push(
    `${counted(new Set(reports.map(({ file }) => file)).size, 'object')} in ${(ms / 1000).toFixed(1)} s`,
  );
  printFolded(`${lines.join('\n')}\n`);
  for (const { error } of reports) if (error) printError(`klpemu: ${error.message}\n`);
}

/** Places that are named as examples. */
const MOST_NAMED = 3;

function remarks(row: UnwinderSums, reports: readonly CheckReport[], colors: Colors): string[] {
  const lines: string[] = [];
  if (row.without > 0) lines.push(`  ${row.name}: ${counted(row.without, 'object')} without such a table`);
  if (row.failed > 0) lines.push(`  ${row.name}: ${counted(row.failed, 'object')} could not be used`);
  const grave = reports.flatMap(({ unwinder, file, check }) =>
    unwinder !== row.unwinder || !check
      ? []
      : check.places
          .filter(({ verdict }) => verdict === 'wrong, declared reliable')
          .map(({ place }) => `${place} of ${file.split('/').pop()}`),
  );
  if (row.wrong > 0) {
    const named = grave.slice(0, MOST_NAMED).join(', ');
    lines.push(`  ${row.name}: ${colors.red('wrong and declared reliable')} as at ${named}`);
  }
  return lines;
}
