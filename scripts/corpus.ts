// `npm run corpus`: Debian's kernels, and what klpemu says of their modules and images.
//
//   node scripts/run.mjs corpus [orc] [check] [--kernel VERSION|all] [--only modules|image] [--modules DIR] [--no-page | --pages]
//
// The packages go to .cache/corpus, never into the repository; what is there already is not fetched again.
// A run is held against the one before it of the same packages: what differs but for times and memory is said.
// Results: .cache/corpus/VERSION.json; docs/corpus/VERSION.md; the comparison of all kernels that have results, in
// docs/corpus.md between its markers.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { comparison, type KernelResults, kernelPage } from './corpus/pages.ts';
import {
  COMMANDS,
  type Command,
  firstDifference,
  klpemu,
  type Results,
  SUBJECTS,
  type Subject,
} from './corpus/results.ts';
import { fetchKernel, KERNELS } from './debian/kernels.ts';
import { ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';
import { log } from './setup/run.ts';

const CACHE = join(ROOT, '.cache/corpus');
const PAGES = join(ROOT, 'docs/corpus');
const OVERVIEW = join(ROOT, 'docs/corpus.md');
const DEFAULT = '6.1';
const USAGE = `usage: npm run corpus -- [${COMMANDS.join('] [')}] [--kernel ${Object.keys(KERNELS).join('|')}|all] [--only modules|image] [--modules DIR] [--no-page | --pages]`;

const fileOf = (version: string): string => join(CACHE, `${version}.json`);

const resultsOf = (version: string): KernelResults | undefined =>
  existsSync(fileOf(version)) ? JSON.parse(readFileSync(fileOf(version), 'utf8')) : undefined;

/** Each command by itself, so that one that fails does not lose the other's results. */
function look(version: string, commands: readonly Command[], wanted: readonly Subject[]): void {
  const kernel = fetchKernel(version, CACHE);
  const before = resultsOf(version);
  const same = before && before.kernel.packages.join() === kernel.packages.join() ? before : undefined;
  const subjects: Record<Subject, Results> = {
    modules: { ...same?.modules },
    image: { ...same?.image },
  };
  for (const command of commands) {
    for (const subject of wanted) {
      log(`${command} of ${version}: ${kernel[subject]}`);
      const last = subjects[subject][command];
      const now = klpemu(command, kernel[subject], CACHE, `${version}-${subject}`);
      if (last) log(compared(last, now));
      Object.assign(subjects[subject], { [command]: now });
      const { packages, release } = kernel;
      const results: KernelResults = {
        version,
        kernel: { packages, release },
        node: process.version,
        cores: availableParallelism(),
        ...subjects,
      };
      writeFileSync(fileOf(version), JSON.stringify(results));
    }
  }
}

/** With the run before: whatever is said hangs on nothing but the program and the packages. */
function compared(last: unknown, now: unknown): string {
  const difference = firstDifference(last, now);
  return difference === undefined
    ? 'the same as the last run, but for times and memory'
    : `another than the last run, first in ${difference}`;
}

function writePages(versions: readonly string[]): void {
  mkdirSync(PAGES, { recursive: true });
  for (const version of versions) {
    const results = resultsOf(version);
    if (results) writeFileSync(join(PAGES, `${version}.md`), kernelPage(results));
  }
  const all = Object.keys(KERNELS).map(resultsOf);
  const missing = Object.keys(KERNELS).filter((_, i) => !all[i]);
  if (missing.length > 0) {
    log(`docs/corpus.md stays as it is: no results here of ${missing.join(', ')}`);
    return;
  }
  const text = comparison(all as KernelResults[]);
  const page = readFileSync(OVERVIEW, 'utf8');
  writeFileSync(
    OVERVIEW,
    page.replace(/(<!-- kernels -->\n)[\s\S]*?(<!-- end -->)/, (_, a, b) => `${a}${text}\n${b}`),
  );
}

/** A folder of somebody's own modules: to standard output. */
function lookAtFolder(folder: string, commands: readonly Command[]): void {
  const modules: Results = {};
  for (const command of commands)
    Object.assign(modules, { [command]: klpemu(command, folder, CACHE, 'folder') });
  const kernel = { packages: [folder], release: 'a folder' };
  const of = { version: folder, node: process.version, cores: availableParallelism() };
  console.log(kernelPage({ ...of, kernel, modules, image: {} }));
}

export function main(args: string[]): void {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      kernel: { type: 'string', default: DEFAULT },
      modules: { type: 'string' },
      only: { type: 'string' },
      'no-page': { type: 'boolean' },
      pages: { type: 'boolean' },
    },
  });
  const commands = positionals.length > 0 ? (positionals as Command[]) : COMMANDS;
  const subjects = values.only === undefined ? SUBJECTS : [values.only as Subject];
  const versions = values.kernel === 'all' ? Object.keys(KERNELS) : [values.kernel];
  if (
    !commands.every((name) => COMMANDS.includes(name)) ||
    !subjects.every((name) => SUBJECTS.includes(name)) ||
    !versions.every((version) => version in KERNELS)
  ) {
    throw new ScriptUsageError(USAGE);
  }
  if (values.modules !== undefined) {
    lookAtFolder(values.modules, commands);
    return;
  }
  // With --pages alone, of the results that are there.
  for (const version of values.pages ? [] : versions) look(version, commands, subjects);
  if (!values['no-page']) writePages(versions);
}
