// What is recorded of a checkout: the traces and reports of every scenario, the comparisons of the two models, what
// `check` and `orc` say of every object among the fixtures, and the events of random sequences. All of it must be a
// function of the commit alone: host times are taken out.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Checkout } from './checkout.ts';
import type { Recording } from './difference.ts';
import { recordSequences } from './sequences.ts';

interface RecordOptions {
  readonly sequences: number;
  /** It is compared with what another engine did: what `check` has to step over is the engine's own (docs/check.md). */
  readonly isOfEngine: boolean;
  readonly say: (line: string) => void;
}

/** Records into the folder `to`, a file a recording. */
export async function record(checkout: Checkout, to: string, options: RecordOptions): Promise<Recording> {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const files = new Map<string, string>();
  const keep = (name: string, text: string) => {
    const file = name.replaceAll('/', '_');
    const path = join(to, file);
    writeFileSync(path, text);
    files.set(file, path);
  };
  const steps: [string, () => void | Promise<void>][] = [
    ['scenarios', () => recordScenarios(checkout, keep)],
    ['comparisons', () => recordComparisons(checkout, keep)],
    ['check and orc', () => recordObjects(checkout, options.isOfEngine, keep)],
    [`${options.sequences} sequences`, () => recordSequences(checkout, options.sequences, keep)],
  ];
  for (const [what, step] of steps) {
    const before = files.size;
    await step();
    options.say(`${what}: ${files.size - before} recordings`);
  }
  return { files };
}

/** Is it a folder in which record() left something, and no commit? */
export function isKept(path: string): boolean {
  return path !== '.' && (statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false);
}

/** What record() left in a folder. */
export function recordingIn(dir: string): Recording {
  return { files: new Map(readdirSync(dir).map((file) => [file, join(dir, file)])) };
}

export type Keep = (name: string, text: string) => void;

function recordScenarios(checkout: Checkout, keep: Keep): void {
  for (const file of yamlFiles(checkout, 'fixtures/scenarios')) {
    keep(`scenario/${basename(file)}/trace`, klpemu(checkout, ['run', file, '--trace', '-']));
    keep(`scenario/${basename(file)}/report`, klpemu(checkout, ['run', file]));
  }
}

function recordComparisons(checkout: Checkout, keep: Keep): void {
  for (const file of yamlFiles(checkout, 'fixtures/bundles')) {
    keep(`compare/${basename(file)}`, klpemu(checkout, ['compare', file]));
  }
}

function recordObjects(checkout: Checkout, isOfEngine: boolean, keep: Keep): void {
  for (const file of objectFiles(checkout)) {
    const checked = klpemu(checkout, ['check', '--functions', file]);
    keep(`check/${file}`, isOfEngine ? withoutSteppedOver(checked) : checked);
    keep(`orc/${file}`, klpemu(checkout, ['orc', '--diff', file]));
    keep(`orc-dump/${file}`, klpemu(checkout, ['orc', '--dump', file]));
  }
}

/** Both outputs and the exit code of a command, without the host's time and the commands' own folder. */
function klpemu(checkout: Checkout, args: readonly string[]): string {
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    cwd: checkout.dir,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  });
  return `${withoutTimes(stdout)}${withoutTimes(stderr)}exit ${status ?? signal}\n`.replaceAll(
    checkout.dir,
    '.',
  );
}

const HOST_TIMES: readonly [RegExp, string][] = [
  [/ in [\d.]+ m?s, [\d,]+ a second/g, ' in T'],
  [/"ms":[\d.]+/g, '"ms":T'],
];

function withoutTimes(text: string): string {
  return HOST_TIMES.reduce((now, [pattern, instead]) => now.replace(pattern, instead), text);
}

/** Without the lines that say what was stepped over, and the heading of an object of which nothing else is said. */
function withoutSteppedOver(text: string): string {
  return text.replace(/^ {2}stepped over: .*\n/gm, '').replace(/^\S+\.k?o\n(?=\d+ objects?: )/gm, '');
}

function yamlFiles(checkout: Checkout, dir: string): string[] {
  const names = readdirSync(join(checkout.dir, dir)).filter((name) => name.endsWith('.yaml'));
  return names.sort().map((name) => join(dir, name));
}

function objectFiles(checkout: Checkout): string[] {
  const all = readdirSync(join(checkout.dir, 'fixtures'), { recursive: true, encoding: 'utf8' });
  const objects = all.filter((name) => /\.k?o$/.test(name)).sort();
  return objects.map((name) => join('fixtures', name)).filter((name) => isFile(join(checkout.dir, name)));
}

function isFile(path: string): boolean {
  return readFileSync(path).length > 0;
}
