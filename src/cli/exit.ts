// How klpemu ends: exit codes, and each error in one line (an object with --json), printed once.

import { KernelFileError } from '../machine/native/find.ts';
import { ScheduleError } from '../machine/schedule.ts';
import { type Problem, ScenarioError } from '../scenario/error.ts';
import { print, printError } from './terminal.ts';

/** What the exit codes mean; `klpemu --help` says so too. */
export const EXIT = {
  /** Everything that the scenario expects was seen. */
  ok: 0,
  /** An expectation failed. */
  failed: 1,
  /** Bad usage, or a scenario or file that cannot be used. */
  usage: 2,
  /** The guest panicked or had an oops that was not expected, or the machine failed. */
  machine: 3,
} as const;

/** Bad usage or bad input; its message is all there is to say. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'EUSAGE';
}

interface ErrorObject {
  readonly code: string;
  readonly message: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly path?: string;
}

/** Prints an error and sets the exit code. */
export function fail(error: unknown, json: boolean): void {
  const usage =
    [ScenarioError, UsageError, KernelFileError, ScheduleError].some((kind) => error instanceof kind) ||
    ofSystem(error);
  process.exitCode = usage ? EXIT.usage : EXIT.machine;
  const objects = errorObjects(error);
  if (json) {
    const errors = objects.length === 1 ? { error: objects[0] } : { error: objects[0], errors: objects };
    print(`${JSON.stringify(errors)}\n`);
    return;
  }
  for (const object of objects) printError(`${errorLine(object)}\n`);
}

/** `no space left on device`: what an error of the system says, without its code, its call and its path. */
export function systemReason(error: unknown): string {
  const { message, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? message : message.replace(/^[A-Z0-9]+: /, '').replace(/, \w+( '.*')?$/s, '');
}

/** `x.ko: permission denied`: an error of the system with the file that it is about. */
export function errorMessage(error: Error): string {
  const { path } = error as NodeJS.ErrnoException;
  if (!ofSystem(error)) return error.message;
  return path === undefined ? systemReason(error) : `${path}: ${systemReason(error)}`;
}

/** A file, a folder or a disk of the computer that cannot be used. */
function ofSystem(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined;
}

/** `klpemu ... | head` is no error; where nothing can be written any more, that is said once. */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    printError(`klpemu: standard output: ${systemReason(error)}\n`);
    process.exit(EXIT.usage);
  });
  // Nobody is there to be told.
  process.stderr.on('error', () => {});
}

function errorObjects(error: unknown): ErrorObject[] {
  if (error instanceof ScenarioError) return error.problems.map((problem) => ofProblem(error.code, problem));
  if (!(error instanceof Error)) return [{ code: 'EUNKNOWN', message: String(error) }];
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return [{ code, message: errorMessage(error) }];
  // Without a code it is a mistake in klpemu itself.
  if (process.env.KLPEMU_DEBUG) printError(`${error.stack}\n`);
  return [{ code: 'EINTERNAL', message: `internal error: ${error.message} (KLPEMU_DEBUG=1 tells where)` }];
}

function ofProblem(code: string, { place, path, reason }: Problem): ErrorObject {
  return { code, message: reason, ...place, ...(path === '' ? {} : { path }) };
}

function errorLine({ file, line, column, path, message }: ErrorObject): string {
  if (file === undefined) return `klpemu: ${message}`;
  return `${file}:${line}:${column}: ${path === undefined ? '' : `${path}: `}${message}`;
}
