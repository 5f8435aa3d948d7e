// Runs a program for the scripts: its failure is an exception that names it.

import { type SpawnSyncOptionsWithStringEncoding, spawnSync } from 'node:child_process';
import { ScriptError } from '../errors.ts';

export class CommandError extends ScriptError {
  override readonly name = 'CommandError';
  override readonly code = 'ECOMMAND';
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export type Run = (command: string, args: readonly string[], options?: CommandOptions) => void;
export type Capture = (command: string, args: readonly string[], options?: CommandOptions) => string;
export type Log = (line: string) => void;

/** Says what a script does, beside its results on standard output. */
export const log: Log = (line) => console.error(`klpemu: ${line}`);

/** Shows what it prints. */
export function run(
  command: string,
  args: readonly string[],
  options: CommandOptions & { readonly quiet?: boolean } = {},
): void {
  // Standard output belongs to the demo and its --json: what setup has to say goes to standard error.
  start(command, args, options, options.quiet ? 'ignore' : ['ignore', 2, 2]);
}

/**
 * Returns what it prints. What it complains of is seen only in the exception: a step that is tried in two ways, and
 * works in the second, has nothing to complain of.
 */
export function capture(command: string, args: readonly string[], options: CommandOptions = {}): string {
  return start(command, args, options, ['ignore', 'pipe', 'pipe']);
}

function start(
  command: string,
  args: readonly string[],
  { cwd, env }: CommandOptions,
  stdio: SpawnSyncOptionsWithStringEncoding['stdio'],
): string {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio,
  });
  if (status === 0) return stdout ?? '';
  const why = error ? error.message : signal ? `ended by ${signal}` : `exit status ${status}`;
  const said = (stderr ?? '').trim().split('\n').slice(-5).join('\n');
  throw new CommandError(`${[command, ...args].join(' ')}: ${why}${said ? `\n${said}` : ''}`);
}
