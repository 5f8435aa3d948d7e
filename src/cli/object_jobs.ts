// What a command does with each of many objects: here, or on threads where that is sooner done; in any order, with the
// results in the order of the objects.

import { availableParallelism } from 'node:os';
import type { ObjectFile } from './object_files.ts';
import { type Output, objectsProgress } from './work_progress.ts';
import { runPool } from './worker_pool.ts';

export interface ObjectWork<Job, Report> {
  /** Below so many bytes of objects a thread takes longer to start than the work. */
  readonly worthThreads: number;
  /** For one object, in real time: several times what the largest takes, for a busy machine. */
  readonly timeoutMs: number;
  /** File below dist/cli of a thread's program. */
  readonly program: string;
  /** The work, on this thread. */
  here(job: Job): Report | Promise<Report>;
  failed(job: Job, error: { code: string; message: string }): Report;
}

/** @param jobs one an object, in their order */
export async function objectReports<Job extends { readonly path: string }, Report>(
  objects: readonly ObjectFile[],
  jobs: readonly Job[],
  options: Output & { readonly jobs?: number },
  work: ObjectWork<Job, Report>,
): Promise<Report[]> {
  const progress = await objectsProgress(jobs.length, options);
  const reports = new Map<Job, Report>();
  const done = (job: Job, report: Report): void => {
    reports.set(job, report);
    progress?.increment();
  };
  const threads = options.jobs ?? availableParallelism();
  const bytes = objects.reduce((sum, { size }) => sum + size, 0);
  if (threads === 1 || jobs.length === 1 || (options.jobs === undefined && bytes < work.worthThreads)) {
    for (const job of jobs) done(job, await work.here(job));
  } else {
    // The largest first, so that no core is left alone with it.
    const order = jobs.map((job, i) => ({ job, size: objects[i].size })).sort((a, b) => b.size - a.size);
    await runPool({
      program: work.program,
      threads,
      jobs: order.map(({ job }) => job),
      timeoutMs: work.timeoutMs,
      failed: (job: Job, why: string) =>
        work.failed(job, { code: 'EWORKER', message: `${job.path}: ${why}` }),
      done,
    });
  }
  progress?.stop();
  return jobs.map((job) => reports.get(job) as Report);
}
