// klpemu compare: one workload under the classic and the bundle model, and a table of what each did.

import { formatDuration } from '../../scenario/units.ts';
import { EXIT } from '../exit.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { print, toTerminal } from '../terminal.ts';
import { workProgress } from '../work_progress.ts';
import { type Measures, type Model, runModel } from './run.ts';
import { readWorkload, type Workload } from './workload.ts';

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
  else print(tableOf(work, classic, bundle, process.stdout.columns || Number.POSITIVE_INFINITY));
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

/** In a file its lines are whole: it is compared with others. */
export function tableOf(
  work: Workload,
  classic: Measures,
  bundle: Measures,
  width: number = Number.POSITIVE_INFINITY,
): string {
  const rows = rowsFor(work).map(([name, of]) => [name, listText(of(classic)), listText(of(bundle))]);
  const columns: FittedColumn[] = [
    { head: '', text: 16 },
    { head: 'classic', text: 16 },
    { head: 'bundle', text: 16 },
  ];
  const heading = toTerminal([work.name, ...(work.about ? work.about.split('\n') : [])], 0);
  return `${heading.join('\n')}\n\n${fittedTable(columns, rows, width)}\n`;
}

/** A list takes a line for each of its items. */
function listText(cell: string | readonly string[]): string {
  if (typeof cell === 'string') return cell;
  return cell.length > 0 ? cell.join('\n') : 'none';
}
