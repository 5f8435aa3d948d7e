// npm run oracle: the same operations on a real kernel in QEMU and on the emulated machine that is booted on that kernel;
// the first difference is shown, lines side by side.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { X86_64 } from '../src/arch/x86_64/x86_64.ts';
import { openKernel } from '../src/machine/native/cache.ts';
import { BOOTED, namedKernel } from './debian/booted.ts';
import { ScriptUsageError } from './errors.ts';
import { type OracleArguments, readArguments, USAGE } from './oracle/arguments.ts';
import { type Difference, differences, sideBySide } from './oracle/difference.ts';
import { runEmulated } from './oracle/emulated.ts';
import { modulesFor } from './oracle/modules.ts';
import { REASONS } from './oracle/normalise.ts';
import { sequencesOf } from './oracle/operations.ts';
import { MachineFailure, type Outcome } from './oracle/outcome.ts';
import { folderOf, readPatches } from './oracle/patches.ts';
import { requireQemu, runReal } from './oracle/qemu.ts';
import { Selftests } from './oracle/selftests.ts';
import { fetchUserspace } from './oracle/userspace.ts';
import { ROOT } from './root.ts';
import { log } from './setup/run.ts';

const cache = join(ROOT, '.cache/oracle');
/** Of both machines. */
const CMDLINE = 'console=ttyS0 quiet panic=-1 log_buf_len=4M';

export async function main(args: string[]): Promise<void> {
  const options = readArguments(args, Object.keys(BOOTED) as (keyof typeof BOOTED)[]);
  if (options === 'help') {
    console.log(
      `${USAGE}\n\nTaken for the same on both machines:\n${REASONS.map((why) => `  ${why}`).join('\n')}`,
    );
    return;
  }
  const { release } = BOOTED[options.kernel];
  const kernel = namedKernel(options.kernel, join(ROOT, '.cache/kernels'));
  const selftests = options.selftests ? new Selftests(options.kernel, ROOT) : undefined;
  const others = selftests?.modules ?? options.modules ?? modulesFor(options.kernel, cache);
  const set = options.patches.length > 0 ? patchSet(options.patches, kernel, others) : undefined;
  const modules = set?.modules ?? others;
  const { cpus, kvm, stall: stallSeconds } = options;
  const common = { modules, cmdline: CMDLINE, cpus, stallSeconds };
  const kept: Kept[] = [];
  const known = options.against === undefined ? [] : readKept(options.against);
  const results: SequenceResult[] = [];
  const isAgain = options.isDefault && options.against !== undefined;
  const sequences = isAgain ? known : (selftests?.sequences ?? sequencesOf(options, release, set?.patches));
  for (const [i, { name, operations }] of sequences.entries()) {
    const real = await attempt(() => {
      const found = known.find((one) => isDeepStrictEqual(one.operations, operations));
      if (found) return Promise.resolve([...found.outcomes]);
      if (options.against !== undefined) log(`${options.against} has no ${name}`);
      requireQemu();
      const files = selftests?.files();
      const userspace = fetchUserspace(cache);
      return runReal(operations, { ...common, kernel, release, kvm, userspace, ...(files ? { files } : {}) });
    });
    kept.push({ name, operations, outcomes: real.outcomes });
    if (options.record) writeFileSync(options.record, `${JSON.stringify(kept)}\n`);
    const seed = options.seed + i;
    const emulated = await attempt(
      () =>
        selftests?.emulated(['--kernel', kernel, '--cpus', String(cpus), '--seed', String(seed)]) ??
        runEmulated(operations, { ...common, kernel, seed }),
    );
    const result = compared(name, operations, real, emulated, options.all);
    if (!options.json) print(release, result);
    results.push(result);
  }
  finish(options, release, results);
}

/** A set of livepatches, in a folder of this run's with the other modules. What it is for and is not there is left out, and told. */
function patchSet(files: readonly string[], kernel: string, others: string) {
  const modules = join(cache, `patches-${process.pid}`);
  const read = readPatches(files, openKernel(kernel, X86_64).description);
  process.once('exit', () => rmSync(modules, { recursive: true, force: true }));
  const names = folderOf(files, others, modules);
  const patches = read.map((patch) => {
    const isThere = (target: string): boolean => names.has(target);
    for (const target of patch.targets.filter((one) => !isThere(one)))
      log(`${patch.name} is for ${target}, which is not in ${others}: that is not tried`);
    return { ...patch, targets: patch.targets.filter(isThere) };
  });
  return { modules, patches };
}

/** What a machine did, and what it failed with. */
interface Attempt {
  readonly outcomes: readonly Outcome[];
  readonly failure?: MachineFailure;
}

async function attempt(work: () => Promise<Outcome[]>): Promise<Attempt> {
  try {
    return { outcomes: await work() };
  } catch (error) {
    if (!(error instanceof MachineFailure)) throw error;
    return { outcomes: error.outcomes, failure: error };
  }
}

/** What a real machine did, to be compared again. */
interface Kept {
  readonly name: string;
  readonly operations: readonly string[];
  readonly outcomes: readonly Outcome[];
}

function readKept(file: string): Kept[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Kept[];
  } catch (error) {
    throw new ScriptUsageError(`${file}: ${(error as Error).message}`);
  }
}

interface SequenceResult {
  readonly name: string;
  readonly operations: number;
  readonly identical: number;
  /** The first one; all, where they are asked for. */
  readonly differences: readonly Difference[];
  readonly failures: readonly string[];
}

function compared(
  name: string,
  operations: readonly string[],
  real: Attempt,
  emulated: Attempt,
  all: boolean,
): SequenceResult {
  const found = [...differences(operations, real.outcomes, emulated.outcomes)];
  return {
    name,
    operations: operations.length,
    identical: Math.min(real.outcomes.length, emulated.outcomes.length) - found.length,
    differences: all ? found : found.slice(0, 1),
    failures: [real.failure, emulated.failure].flatMap((failure) => (failure ? [failure.message] : [])),
  };
}

function print(release: string, { name, operations, identical, ...result }: SequenceResult): void {
  for (const difference of result.differences) {
    console.log(`${name}, operation ${difference.index + 1}: ${difference.operation}`);
    console.log(sideBySide(difference));
  }
  for (const failure of result.failures) console.error(`klpemu: ${failure}`);
  console.log(`${release}, ${name}: ${identical} of ${operations} operations identical`);
}

function finish({ json }: OracleArguments, release: string, results: readonly SequenceResult[]): void {
  const sum = (key: 'operations' | 'identical'): number =>
    results.reduce((total, result) => total + result[key], 0);
  const [operations, identical] = [sum('operations'), sum('identical')];
  if (json) console.log(JSON.stringify({ release, operations, identical, sequences: results }, null, 2));
  else if (results.length > 1) console.log(`${release}: ${identical} of ${operations} operations identical`);
  if (results.some((result) => result.differences.length > 0)) process.exitCode = 1;
  else if (identical < operations) process.exitCode = 3;
}
