// `klpemu orc`: ORC tables from the code of kernel objects; how they compare with the objects' own.

import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { OrcFormat } from '../../objtool/orc_formats.ts';
import { EXIT, UsageError } from '../exit.ts';
import { findObjects, type ObjectFile } from '../object_files.ts';
import { objectsProgress } from '../work_progress.ts';
import { runPool } from '../worker_pool.ts';
import { type OrcJob, type OrcReport, orcObject } from './object.ts';
import { printReports } from './report.ts';

interface OrcOptions {
  readonly output?: string;
  readonly diff?: boolean;
  readonly dump?: boolean;
  readonly format?: OrcFormat;
  readonly jobs?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Below this a thread takes longer to start than the work. */
const WORTH_THREADS = 4 << 20;
/** The largest modules take a second. */
const TIMEOUT_MS = 120_000;

export async function orc(args: readonly string[], options: OrcOptions): Promise<void> {
  const objects = findObjects(args);
  const jobs = jobsOf(objects, options);
  const started = performance.now();
  const progress = await objectsProgress(jobs.length, options);
  const reports = new Map<OrcJob, OrcReport>();
  const done = (job: OrcJob, report: OrcReport): void => {
    reports.set(job, report);
    progress?.increment();
  };
  const threads = options.jobs ?? availableParallelism();
  const bytes = objects.reduce((sum, { size }) => sum + size, 0);
  if (threads === 1 || jobs.length === 1 || (options.jobs === undefined && bytes < WORTH_THREADS)) {
    for (const job of jobs) done(job, await orcObject(job));
  } else {
    // The largest first, so that no core is left alone with it.
    const order = jobs.map((job, i) => ({ job, size: objects[i].size })).sort((a, b) => b.size - a.size);
    const failed = (job: OrcJob, why: string): OrcReport => ({
      file: job.path,
      error: { code: 'EWORKER', message: `${job.path}: ${why}` },
    });
    await runPool({
      program: 'orc/worker.js',
      threads,
      jobs: order.map(({ job }) => job),
      timeoutMs: TIMEOUT_MS,
      failed,
      done,
    });
  }
  progress?.stop();
  const results = jobs.map((job) => reports.get(job) as OrcReport);
  printReports(results, { ...options, ms: performance.now() - started });
  process.exitCode = exitCode(results, options.diff === true);
}

function jobsOf(objects: readonly ObjectFile[], options: OrcOptions): OrcJob[] {
  const output = outputOf(objects, options.output);
  return objects.map((object) => ({
    path: object.path,
    diff: options.diff === true,
    dump: options.dump === true,
    ...(output ? { output: output(object) } : {}),
    ...(options.format ? { format: options.format } : {}),
  }));
}

/** A folder, or for a single object a file. */
function outputOf(
  objects: readonly ObjectFile[],
  path: string | undefined,
): ((object: ObjectFile) => string) | undefined {
  if (path === undefined) return undefined;
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? path.endsWith('/');
  if (!isFolder && objects.length === 1) return () => path;
  const names = new Set(objects.map(({ name }) => name));
  if (names.size < objects.length) throw new UsageError(`several objects would have one name in ${path}`);
  return ({ name }) => join(path, name);
}

function exitCode(reports: readonly OrcReport[], diff: boolean): number {
  if (reports.some(({ agreement }) => agreement && agreement.differences.length > 0)) return EXIT.failed;
  const isWhole = ({ error, undecoded, agreement, functions }: OrcReport): boolean =>
    !error && !undecoded && (!diff || agreement !== undefined || functions === 0);
  if (!reports.every(isWhole)) return EXIT.usage;
  const compared = reports.some(({ agreement }) => agreement);
  return diff && !compared ? EXIT.usage : EXIT.ok;
}
