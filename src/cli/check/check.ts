// `klpemu check`: the unwinder's answers at every instruction of kernel objects, against execution.

import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { isAllLookedAt, UNWINDERS } from '../../check/verdicts.ts';
import { EXIT, UsageError } from '../exit.ts';
import { findObjects } from '../object_files.ts';
import { type ObjectWork, objectReports } from '../object_jobs.ts';
import { printAll } from './all.ts';
import { type CheckJob, type CheckReport, checkFile } from './file.ts';
import type { CheckCommandOptions } from './options.ts';
import { printChecks } from './report.ts';

const WORK: ObjectWork<CheckJob, CheckReport> = {
  worthThreads: 1 << 20,
  // The largest modules take some seconds.
  timeoutMs: 300_000,
  program: 'check/worker.js',
  here: checkFile,
  failed: ({ path }, error) => ({ file: path, ms: 0, error }),
};

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
  const compared = unwinder === 'all';
  const each = objects.flatMap((object) => (compared ? UNWINDERS.map(() => object) : [object]));
  const jobs = each.map(({ path }, i): CheckJob => {
    const whose = compared ? { unwinder: UNWINDERS[i % UNWINDERS.length], compared } : { unwinder };
    return { path, ...whose, into, ...(format ? { format } : {}) };
  });
  const started = performance.now();
  const results = await objectReports(each, jobs, options, WORK);
  if (compared) {
    printAll(results, { ...options, ms: performance.now() - started });
    process.exitCode = exitCode(results.filter(({ missing }) => !missing));
    return;
  }
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
  const disassemble = await X86_64.loadDisassembler();
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
