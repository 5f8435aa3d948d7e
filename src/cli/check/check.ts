// `klpemu check`: the unwinder's answers at every instruction of kernel objects, against execution.

import { availableParallelism } from 'node:os';
import { isAllLookedAt, type Unwinder } from '../../check/ports.ts';
import type { OrcFormat } from '../../objtool/orc_formats.ts';
import { EXIT, UsageError } from '../exit.ts';
import { findObjects } from '../object_files.ts';
import { objectsProgress } from '../work_progress.ts';
import { runPool } from '../worker_pool.ts';
import { type CheckJob, type CheckReport, checkFile } from './file.ts';
import { printChecks } from './report.ts';

export interface CheckCommandOptions {
  readonly unwinder: Unwinder;
  readonly into?: boolean;
  readonly functions?: boolean;
  /** The guest kernel's own code, and no objects. */
  readonly image?: boolean;
  readonly format?: OrcFormat;
  readonly jobs?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Below this a thread takes longer to start than the work. */
const WORTH_THREADS = 1 << 20;
/** The largest modules take some seconds; several times that on a busy machine. */
const TIMEOUT_MS = 300_000;

export async function check(args: readonly string[], options: CheckCommandOptions): Promise<void> {
  if (options.image) {
    if (args.length > 0) throw new UsageError('--image takes no objects');
    if (options.format) throw new UsageError('--format is of objects: the layout of the image is known');
    await (await import('./image.ts')).checkTheImage(options);
    return;
  }
  if (args.length === 0) throw new UsageError('which objects? (or --image)');
  const objects = findObjects(args);
  const { unwinder, into = false, format } = options;
  const jobs = objects.map(({ path }): CheckJob => ({ path, unwinder, into, ...(format ? { format } : {}) }));
  const started = performance.now();
  const progress = await objectsProgress(jobs.length, options);
  const reports = new Map<CheckJob, CheckReport>();
  const done = (job: CheckJob, report: CheckReport): void => {
    reports.set(job, report);
    progress?.increment();
  };
  const threads = options.jobs ?? availableParallelism();
  const bytes = objects.reduce((sum, { size }) => sum + size, 0);
  if (threads === 1 || jobs.length === 1 || (options.jobs === undefined && bytes < WORTH_THREADS)) {
    for (const job of jobs) done(job, checkFile(job));
  } else {
    // The largest first, so that no core is left alone with it.
    const order = jobs.map((job, i) => ({ job, size: objects[i].size })).sort((a, b) => b.size - a.size);
    const failed = ({ path }: CheckJob, why: string): CheckReport => ({
      file: path,
      ms: 0,
      error: { code: 'EWORKER', message: `${path}: ${why}` },
    });
    await runPool({
      program: 'check/worker.js',
      threads,
      jobs: order.map(({ job }) => job),
      timeoutMs: TIMEOUT_MS,
      failed,
      done,
    });
  }
  progress?.stop();
  const results = jobs.map((job) => reports.get(job) as CheckReport);
  await addDisassembly(results);
  printChecks(results, { ...options, ms: performance.now() - started });
  process.exitCode = exitCode(results);
}

function exitCode(reports: readonly CheckReport[]): number {
  const checks = reports.flatMap(({ check: found }) => found ?? []);
  if (checks.some(({ wrong, right }) => wrong > 0 || right === 0)) return EXIT.failed;
  const whole = checks.length === reports.length && checks.every((found) => isAllLookedAt(found.notLookedAt));
  return whole ? EXIT.ok : EXIT.usage;
}

/** Text for the bytes of wrong places; Capstone is loaded only where there are any. */
async function addDisassembly(reports: CheckReport[]): Promise<void> {
  if (!reports.some(({ check: found }) => found && found.places.length > 0)) return;
  const { loadDisassembler } = await import('../../isa/disassembler.ts');
  const disassemble = await loadDisassembler();
  reports.forEach((report, i) => {
    if (!report.check) return;
    const places = report.check.places.map((place) => {
      const bytes = Uint8Array.from(Buffer.from(place.disassembly, 'hex'));
      const [insn] = disassemble(bytes, BigInt(place.offset));
      return { ...place, disassembly: insn?.text ?? place.disassembly };
    });
    reports[i] = { ...report, check: { ...report.check, places } };
  });
}
