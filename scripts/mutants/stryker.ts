// Mutation testing of a folder of src/ with Stryker, in a copy of the checkout: its mutants of expressions and statements, each run
// before the tests that come to it.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from '../root.ts';
import { FOLDERS } from './folders.ts';
import type { Tree } from './tree.ts';
import { mustPass, sequencesMustPass, type Verdict, verdictOf, verdictOfSequences } from './verdict.ts';

export interface SourceMutant {
  /** Below src/. */
  readonly file: string;
  /** `FILE:LINE:COLUMN` */
  readonly place: string;
  readonly before: string;
  readonly after: string;
  /** Its file with it. */
  readonly text: () => string;
  /** Test files that come to it; all of the folder's where it is executed as its module is read. */
  readonly tests: readonly string[];
  readonly status:
    | 'Killed'
    | 'Survived'
    | 'Timeout'
    | 'NoCoverage'
    | 'RuntimeError'
    | 'CompileError'
    | 'Ignored'
    | 'Pending';
}

/** What a list of known mutants goes by: no numbers of lines, which change. */
export const sourceKey = ({ file, before, after }: SourceMutant): string => `${file}: ${before} -> ${after}`;

/**
 * What a thousand lines of instrumented code take longer. This is a clock on the wall, which is all that Stryker has: who comes to it
 * is run again (rerunTimeouts).
 */
const TIMEOUT = { timeoutMS: 60_000, timeoutFactor: 3 } as const;

/** @returns all that Stryker knows of the folder's mutants: those that are not in the sample are CompileError */
export async function testSources(
  tree: Tree,
  folder: string,
  sample: { readonly size: number; readonly seed: number },
): Promise<readonly SourceMutant[]> {
  const { Stryker } = await import('@stryker-mutator/core');
  const checker = await bundledChecker(tree);
  const configFile = join(tree.root, 'vitest.mutants.config.mjs');
  const files = testFiles(tree, folder);
  writeFileSync(configFile, vitestConfig(files));
  process.chdir(tree.root);
  const options = {
    packageManager: 'npm',
    testRunner: 'vitest',
    vitest: { configFile, related: false },
    plugins: ['@stryker-mutator/vitest-runner', checker],
    checkers: ['sample'],
    sample,
    mutate: [`src/${folder}/**/*.ts`],
    // The tree is a copy already.
    inPlace: true,
    ignorePatterns: ['**', '!src/**'],
    coverageAnalysis: 'perTest',
    concurrency: 1,
    reporters: [],
    disableTypeChecks: false,
    allowConsoleColors: false,
    logLevel: process.env.KLPEMU_DEBUG ? 'info' : 'error',
    dryRunTimeoutMinutes: 20,
    warnings: { unknownOptions: false },
    tempDirName: '.cache/stryker',
    ...TIMEOUT,
  } as const;
  const results = await new Stryker(options as never).runMutationTest();
  return results.map(({ fileName, location, replacement, status, static: isStatic, coveredBy }) => {
    const file = fileName.replace(/.*\/src\//, '');
    const text = readFileSync(join(tree.root, 'src', file), 'utf8');
    return {
      file,
      place: `${file}:${location.start.line}:${location.start.column}`,
      before: short(textAt(text, location)),
      after: short(replacement ?? ''),
      text: () => withText(text, location, replacement ?? ''),
      tests: isStatic || !coveredBy?.length ? files : filesOf(coveredBy),
      status,
    };
  });
}

/** Stryker names a test by its file and what it is called. */
const filesOf = (tests: readonly string[]): string[] => [
  ...new Set(tests.map((test) => test.split('#')[0].replace(/^.*?(?=test\/)/, ''))),
];

/**
 * Whether those that Stryker gave up do not end, by the processor time that they take: each by itself, before the test files that come to it.
 * @param told of each as it is known
 */
export async function rerunTimeouts(
  tree: Tree,
  mutants: readonly SourceMutant[],
  told: (mutant: SourceMutant, verdict: Verdict) => void,
): Promise<void> {
  for (const mutant of mutants) {
    const ms = await mustPass(tree, mutant.tests);
    const judged = () => verdictOf(tree, mutant.tests, ms);
    told(mutant, await tree.with(`src/${mutant.file}`, mutant.text(), judged));
  }
}

/** What random sequences say of mutants that no test noticed. @param told of each as it is known */
export async function runSources(
  tree: Tree,
  mutants: readonly SourceMutant[],
  told: (mutant: SourceMutant, verdict: Verdict) => void,
): Promise<void> {
  if (mutants.length === 0) return;
  const ms = await sequencesMustPass(tree);
  for (const mutant of mutants) {
    const judged = () => verdictOfSequences(tree, ms);
    told(mutant, await tree.with(`src/${mutant.file}`, mutant.text(), judged));
  }
}

/** Lines and columns from 1. */
interface Location {
  readonly start: { readonly line: number; readonly column: number };
  readonly end: { readonly line: number; readonly column: number };
}

function withText(text: string, { start, end }: Location, replacement: string): string {
  const lines = text.split('\n');
  const [first, last] = [lines[start.line - 1], lines[end.line - 1]];
  const changed = first.slice(0, start.column - 1) + replacement + last.slice(end.column - 1);
  return [...lines.slice(0, start.line - 1), changed, ...lines.slice(end.line)].join('\n');
}

function textAt(text: string, { start, end }: Location): string {
  const lines = text.split('\n').slice(start.line - 1, end.line);
  lines[lines.length - 1] = lines[lines.length - 1].slice(0, end.column - 1);
  return [lines[0].slice(start.column - 1), ...lines.slice(1)].join(' ');
}

function short(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > 100 ? `${line.slice(0, 60)} ... ${line.slice(-35)}` : line;
}

function testFiles(tree: Tree, folder: string): string[] {
  const { tests, without = [] } = FOLDERS[folder];
  const all = readdirSync(join(tree.root, 'test'), { recursive: true, encoding: 'utf8' });
  const begins = (path: string, with_: readonly string[]): boolean =>
    with_.some((start) => path.startsWith(start));
  return all
    .filter((path) => path.endsWith('.test.ts') && !path.endsWith('.long.test.ts'))
    .filter((path) => begins(path, tests) && !begins(path, without))
    .map((path) => `test/${path}`)
    .sort();
}

/** As vitest.config.ts has it: files follow each other in one thread. Stryker starts another where a mutant needs that. */
const vitestConfig = (include: readonly string[]): string =>
  `export default ${JSON.stringify({
    test: {
      include,
      isolate: false,
      globalSetup: ['test/core_built.ts'],
      setupFiles: ['test/property_runs.ts'],
      testTimeout: 900_000,
      hookTimeout: 900_000,
      watch: false,
    },
  })};\n`;

async function bundledChecker(tree: Tree): Promise<string> {
  const outfile = join(tree.root, '.cache/sample_checker.mjs');
  mkdirSync(join(tree.root, '.cache'), { recursive: true });
  await build({
    entryPoints: [join(ROOT, 'scripts/mutants/sample_checker.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    logLevel: 'warning',
  });
  return outfile;
}
