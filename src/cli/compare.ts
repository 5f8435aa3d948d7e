// klpemu compare: one workload under the classic and the bundle model, and a table of what each did.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod/mini';
import { formatDuration, parseDuration } from '../scenario/units.ts';
import { type Measures, runModel } from './compare_run.ts';
import { UsageError } from './exit.ts';

const step = z.union([
  z.strictObject({ load: z.string(), params: z.optional(z.string()), background: z.optional(z.boolean()) }),
  z.strictObject({ unload: z.string() }),
  z.strictObject({
    /** Members of a bundle; what the classic model loads for it, where that is not the same modules. */
    enable: z.array(z.string()).check(z.minLength(1)),
    classic: z.optional(z.array(z.string())),
  }),
  z.strictObject({ wait: z.string() }),
  z.strictObject({ settle: z.literal(true) }),
]);
const workload = z.strictObject({
  name: z.string(),
  about: z.optional(z.string()),
  modules: z.string(),
  steps: z.array(step),
});

export type Workload = z.infer<typeof workload>;
export type WorkloadStep = z.infer<typeof step>;

/** @throws UsageError */
export function readWorkload(file: string): Workload {
  let raw: unknown;
  try {
    raw = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`);
  }
  const result = workload.safeParse(raw);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new UsageError(`${file}: ${issue.path.join('.')}: ${issue.message}`);
  }
  for (const { wait } of result.data.steps.map((s) => ('wait' in s ? s : { wait: '0s' })))
    if (parseDuration(wait) === undefined) throw new UsageError(`${file}: '${wait}' is no duration`);
  return { ...result.data, modules: join(dirname(file), result.data.modules) };
}

const count = String;
const time = (ns: number): string => (ns === 0 ? '0' : formatDuration(ns));

/** The rows of the table. */
const ROWS: readonly (readonly [string, (m: Measures) => string])[] = [
  ['instructions of original code, though patched', (m) => count(m.originalInstructions)],
  ['loads and unloads delayed', (m) => count(m.delays.length)],
  ['  longest delay', (m) => time(Math.max(0, ...m.delays))],
  ['transitions delayed by loads', (m) => count(m.transitionDelays.length)],
  ['livepatch relocations applied late', (m) => count(m.lateRelocations)],
  ['calls of the coming and going notifiers', (m) => count(m.notifiers)],
  ['objects patched or reverted beside a transition', (m) => count(m.besideTransition)],
  ['  of these inside another transition', (m) => count(m.insideTransition)],
  ['relocations cleared at unload', () => '0 (6.1 has no such step)'],
  ['failed steps', (m) => m.failed.join(', ') || 'none'],
  ['modules in the end', (m) => m.modules.join(', ') || 'none'],
  ['module memory in the end (bytes)', (m) => count(m.moduleBytes)],
  ['blob store in the end (bytes)', (m) => count(m.blobBytes)],
];

export async function compare(file: string, options: { readonly json?: boolean }): Promise<void> {
  const work = readWorkload(file);
  const classic = await runModel(work, 'classic');
  const bundle = await runModel(work, 'bundle');
  if (options.json) process.stdout.write(`${JSON.stringify({ name: work.name, classic, bundle })}\n`);
  else process.stdout.write(tableOf(work, classic, bundle));
}

export function tableOf(work: Workload, classic: Measures, bundle: Measures): string {
  const rows = [['', 'classic', 'bundle'], ...ROWS.map(([name, of]) => [name, of(classic), of(bundle)])];
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${work.name}\n${work.about ? `${work.about}\n` : ''}\n${lines.join('\n')}\n`;
}
