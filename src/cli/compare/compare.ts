// klpemu compare: one scenario under the models that it names, and a table of what each did.

import { readWorkload, type Workload } from '../../compare/comparison.ts';
import { isDoing, type Measures, type ModelObserver, runModel } from '../../compare/run.ts';
import type { FileAccess } from '../../scenario/host_file.ts';
import type { Model } from '../../scenario/scenario.ts';
import { formatDuration } from '../../scenario/units.ts';
import { EXIT } from '../exit.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { print, toTerminal } from '../terminal.ts';
import { workProgress } from '../work_progress.ts';

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

/** What steps have read under a model, beside the first one. */
function saidRows(work: Workload, [first]: readonly Shown[]): typeof ROWS {
  const reads = work.steps.filter((step) => isDoing(step) && step.verb === 'read').length;
  if (reads === 0) return [];
  const other = ({ said }: Measures): number =>
    Array.from({ length: reads }).filter((_, i) => said[i] !== first.measures.said[i]).length;
  return [
    [`files read (${reads}) that say something else than under ${first.model}`, (m) => String(other(m))],
  ];
}

function rowsFor(work: Workload, all: readonly Shown[]): typeof ROWS {
  const doing = work.steps.filter(isDoing);
  return [
    ...saidRows(work, all),
    ...ROWS,
    ...(doing.some(({ faults }) => faults.length > 0) ? FAULT_ROWS : []),
    ...(doing.some(({ everyFault }) => everyFault) ? POINT_ROWS : []),
  ];
}

interface CompareOptions extends FileAccess {
  readonly json?: boolean;
  readonly html?: string;
}

/** What was counted under one model. */
export interface Shown {
  readonly model: Model;
  readonly measures: Measures;
}

export async function compare(file: string, options: CompareOptions): Promise<void> {
  const work = readWorkload(file, options);
  const { html } = options;
  const page = html === undefined ? undefined : new (await import('./page.ts')).ComparedPage(html, work);
  const all: Shown[] = [];
  for (const model of work.models) {
    const measures = await measured(work, model, options, page?.observer(model));
    all.push({ model, measures });
    page?.ran(measures);
  }
  page?.write(tableCells(work, all));
  const doing = work.steps.filter(isDoing).length;
  const nothingDone = all.some(({ measures: { failed } }) => failed.length > 0 && failed.length === doing);
  process.exitCode = nothingDone ? EXIT.failed : EXIT.ok;
  const byModel = Object.fromEntries(all.map(({ model, measures }) => [model, measures]));
  if (options.json) print(`${JSON.stringify({ name: work.name, ...byModel })}\n`);
  else print(tableOf(work, all, process.stdout.columns || Number.POSITIVE_INFINITY));
}

/** Failure points may be thousands, each a machine of its own. */
async function measured(
  work: Workload,
  model: Model,
  options: CompareOptions,
  observer: ModelObserver | undefined,
): Promise<Measures> {
  const progress = await workProgress(`  ${model}: {value} failure points tried {now}`, 1, options);
  try {
    return await runModel(work, model, 1, (tried) => progress?.update(tried), observer);
  } finally {
    progress?.stop();
  }
}

function tableCells(work: Workload, all: readonly Shown[]): { heads: string[]; rows: string[][] } {
  const rows = rowsFor(work, all).map(([name, of]) => [
    name,
    ...all.map(({ measures }) => listText(of(measures))),
  ]);
  return { heads: ['', ...all.map(({ model }) => model)], rows };
}

/** In a file its lines are whole: it is compared with others. */
export function tableOf(
  work: Workload,
  all: readonly Shown[],
  width: number = Number.POSITIVE_INFINITY,
): string {
  const { heads, rows } = tableCells(work, all);
  const columns: FittedColumn[] = heads.map((head) => ({ head, text: 16 }));
  const heading = toTerminal([work.name, ...(work.about ? work.about.split('\n') : [])], 0);
  return `${heading.join('\n')}\n\n${fittedTable(columns, rows, width)}\n`;
}

/** A list takes a line for each of its items. */
function listText(cell: string | readonly string[]): string {
  if (typeof cell === 'string') return cell;
  return cell.length > 0 ? cell.join('\n') : 'none';
}
