// `klpemu orc`: ORC tables from the code of kernel objects; how they compare with the objects' own.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { OrcFormat } from '../../arch/orc.ts';
import { EXIT, UsageError } from '../exit.ts';
import { findObjects, type ObjectFile } from '../object_files.ts';
import { type ObjectWork, objectReports } from '../object_jobs.ts';
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

const WORK: ObjectWork<OrcJob, OrcReport> = {
  worthThreads: 4 << 20,
  // The largest modules take a second.
  timeoutMs: 120_000,
  program: 'orc/worker.js',
  here: orcObject,
  failed: ({ path }, error) => ({ file: path, error }),
};

export async function orc(args: readonly string[], options: OrcOptions): Promise<void> {
  const objects = findObjects(args);
  const jobs = jobsOf(objects, options);
  const started = performance.now();
  const results = await objectReports(objects, jobs, options, WORK);
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
