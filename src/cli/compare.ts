// klpemu compare: one workload under the classic and the bundle model, and a table of what each did.

import { formatDuration } from '../scenario/units.ts';
import { type Measures, type Model, runModel } from './compare_run.ts';
import { readWorkload, type Workload } from './compare_workload.ts';
import { EXIT } from './exit.ts';
import { print } from './terminal.ts';
import { workProgress } from './work_progress.ts';

const time = (ns: number): string => (ns === 0 ? '0' : formatDuration(ns));

/** The rows of the table; those of faults are left out where a workload has none. */
const ROWS: readonly (readonly [string, (m: Measures) => string | readonly string[]])[] = [
  ['runs of original functions, though patched', (m) => String(m.originalRuns)],
  ['  their instructions', (m) => String(m.originalInstructions)],
  ['loads and unloads delayed', (m) => String(m.delays.length)],
  ['  longest delay', (m) => time(Math.max(0, ...m.delays))],
  ['transitions delayed by loads', (m) => String(m.transitionDelays.length)],
  ['  longest delay', (m) => time(Math.max(0, ...m.transitionDelays))],
  ['livepatch relocations applied late', (m) => String(m.lateRelocations)],
  ['livepatch relocations cleared at unload', (m) => String(m.clearedRelocations)],
  ['calls of the coming and going notifiers', (m) => String(m.notifiers)],
  ['objects patched or reverted beside a transition', (m) => String(m.besideTransition)],
  ['  of these inside another transition', (m) => String(m.insideTransition)],
  ['failed steps', (m) => m.failed],
  ['modules in the end', (m) => String(m.modules.length)],
  ['  their memory (bytes)', (m) => String(m.moduleBytes)],
  ['heap in the end, more than at first (bytes)', (m) => String(m.heapBytes)],
  ['  of this the blob store', (m) => String(m.blobBytes)],
];

const FAULT_ROWS: typeof ROWS = [
  ['faults injected', (m) => m.injected],
  ['  left behind by the steps that failed', (m) => m.left.flat()],
];

const POINT_ROWS: typeof ROWS = [
  ['failure points, each in a run of its own', (m) => String(m.points.tried)],
  ['  after which something was left behind', (m) => String(m.points.leaving)],
  ['  after which the step failed once more', (m) => String(m.points.lasting)],
];

function rowsFor(work: Workload): typeof ROWS {
  const faults = work.steps.map((s) => ('faults' in s ? s.faults : undefined));
  return [
    ...ROWS,
    ...(faults.some((f) => Array.isArray(f)) ? FAULT_ROWS : []),
    ...(faults.includes('every') ? POINT_ROWS : []),
  ];
}

export async function compare(file: string, options: { readonly json?: boolean }): Promise<void> {
  const work = readWorkload(file);
  const classic = await shown(work, 'classic', options);
  const bundle = await shown(work, 'bundle', options);
  const nothingDone = [classic, bundle].some(
    ({ failed }) => failed.length > 0 && failed.length === doing(work),
  );
  process.exitCode = nothingDone ? EXIT.failed : EXIT.ok;
  if (options.json) print(`${JSON.stringify({ name: work.name, classic, bundle })}\n`);
  else print(tableOf(work, classic, bundle));
}

/** Failure points may be thousands, each a machine of its own. */
async function shown(work: Workload, model: Model, options: { readonly json?: boolean }): Promise<Measures> {
  const progress = await workProgress(`  ${model}: {value} failure points tried {now}`, 1, options);
  try {
    return await runModel(work, model, 1, (tried) => progress?.update(tried));
  } finally {
    progress?.stop();
  }
}

/** Steps that can fail. */
const doing = ({ steps }: Workload): number =>
  steps.filter((step) => 'load' in step || 'unload' in step || 'enable' in step).length;

export function tableOf(work: Workload, classic: Measures, bundle: Measures): string {
  const rows = [
    ['', 'classic', 'bundle'],
    ...rowsFor(work).flatMap(([name, of]) => rowLines(name, of(classic), of(bundle))),
  ];
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${work.name}\n${work.about ? `${work.about}\n` : ''}\n${lines.join('\n')}\n`;
}

/** A list takes a line for each of its items. */
function rowLines(name: string, ...cells: readonly (string | readonly string[])[]): string[][] {
  const lists = cells.map((cell) => (typeof cell === 'string' ? [cell] : cell.length > 0 ? cell : ['none']));
  const height = Math.max(...lists.map((list) => list.length));
  return Array.from({ length: height }, (_, i) => [
    i === 0 ? name : '',
    ...lists.map((list) => list[i] ?? ''),
  ]);
}
