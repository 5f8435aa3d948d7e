// klpemu exec: one command in the machine that is up, or with --pipe as many as a script has.

import { EXIT, UsageError } from './exit.ts';
import { ask, type Reply, requireConnection } from './session.ts';
import { toBytes, writeResult } from './shell.ts';

export interface ExecOptions {
  readonly name: string;
  readonly pipe?: boolean;
}

export async function exec(words: readonly string[], options: ExecOptions): Promise<void> {
  if (options.pipe) {
    if (words.length > 0) throw new UsageError('--pipe reads its commands from standard input');
    await pipe(options.name);
    return;
  }
  if (words.length === 0) throw new UsageError('no command: klpemu exec -- COMMAND [ARGUMENT]...');
  const bytes = words.map(toBytes);
  // One word is a line of the shell's language, several are a command and its arguments.
  const request = bytes.length === 1 ? { line: bytes[0] } : { words: bytes };
  finish(await ask(options.name, request));
}

/** Prints what a reply says, and sets the exit code. */
export function finish(reply: Reply): void {
  writeResult(reply);
  process.exitCode = reply.status;
  if (reply.failure === undefined) return;
  process.stderr.write(`klpemu: ${reply.failure}\n`);
  process.exitCode = EXIT.machine;
}

async function pipe(name: string): Promise<void> {
  const socket = await requireConnection(name);
  socket.write('{"pipe":true}\n');
  process.stdin.pipe(socket);
  socket.pipe(process.stdout);
  await new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    process.stdin.on('end', () => socket.end());
  });
  process.exit();
}
