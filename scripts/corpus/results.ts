// What klpemu says of a kernel: its two commands, started over all modules, and over the image.

import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.ts';
import { CommandError } from '../setup/run.ts';

export type Command = 'orc' | 'check';
export const COMMANDS: readonly Command[] = ['orc', 'check'];
/** What of a kernel is looked at. */
export type Subject = 'modules' | 'image';
export const SUBJECTS: readonly Subject[] = ['modules', 'image'];

interface KnownFormat {
  readonly format: string;
  readonly by: string;
}

interface Failure {
  readonly code: string;
  readonly message: string;
}

interface Subjected {
  readonly file: string;
  readonly error?: Failure;
  readonly format?: KnownFormat;
}

export interface Difference {
  readonly place: string;
  readonly class: string;
  readonly reason: string;
  readonly ours: string;
  readonly theirs: string;
  readonly proof: string | { readonly truth: string; readonly ours: string; readonly theirs: string };
}

/** What `klpemu orc --diff --json` prints. */
export interface OrcResult {
  readonly summary: Readonly<Record<string, number>> & { readonly classes: Readonly<Record<string, number>> };
  readonly objects: readonly (Subjected & {
    readonly agreement?: { readonly differences: readonly Difference[]; readonly omitted: number };
  })[];
}

export type Wrong = 'wrong' | 'unreliable';
type Counts = Readonly<Record<Wrong, number>>;

/** What `klpemu check --json` prints. */
export interface CheckResult {
  readonly summary: Readonly<Record<string, number>>;
  readonly objects: readonly (Subjected & {
    readonly check?: Counts & {
      readonly notCovered: Readonly<Record<string, number>>;
      readonly functions: readonly (Counts & { readonly name: string })[];
    };
  })[];
}

export interface Results {
  orc?: OrcResult;
  check?: CheckResult;
}

const ARGUMENTS: Readonly<Record<Command, readonly string[]>> = { orc: ['--diff'], check: [] };

/** Runs one command. What it prints is large: it goes through a file. @throws CommandError when it does not end well */
export function klpemu<C extends Command>(
  command: C,
  path: string,
  folder: string,
  name: string,
): Results[C] {
  mkdirSync(folder, { recursive: true });
  const output = join(folder, `${name}-${command}.json`);
  const file = openSync(output, 'w');
  const main = join(ROOT, 'dist/cli/main.js');
  const { status, error } = spawnSync(
    process.execPath,
    [main, command, '--json', ...ARGUMENTS[command], path],
    { stdio: ['ignore', file, 'inherit'] },
  );
  closeSync(file);
  if (error) throw error;
  if (status !== 0 && status !== 1 && status !== 2) {
    throw new CommandError(`klpemu ${command} ended with ${status}`);
  }
  return JSON.parse(readFileSync(output, 'utf8')) as Results[C];
}

/** What of a result may be another in each run. */
const OF_RUNS: ReadonlySet<string> = new Set(['ms', 'cpuMs', 'peakMemory']);

/** Where two results of one command first differ, but for times and memory: `objects.12.check.right`; undefined where nowhere. */
export function firstDifference(a: unknown, b: unknown): string | undefined {
  if (Object.is(a, b)) return undefined;
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b) return '';
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (OF_RUNS.has(key)) continue;
    const inside = firstDifference(left[key], right[key]);
    if (inside !== undefined) return inside === '' ? key : `${key}.${inside}`;
  }
  return undefined;
}
