// klpemu exec: one command in the machine that is up, or with --pipe as many as a script has.

import { parseSchedule } from '../../machine/schedule.ts';
import { EXIT, UsageError } from '../exit.ts';
import { toBytes, writeResult } from '../shell/text.ts';
import { printError } from '../terminal.ts';
import { ask } from './client.ts';
import type { Reply } from './machine_work.ts';
import { PIPE_INTERRUPT } from './protocol.ts';
import { requireConnection } from './socket.ts';

interface ExecOptions {
  readonly name: string;
  readonly pipe?: boolean;
  readonly schedule?: string;
}

export async function exec(words: readonly string[], options: ExecOptions): Promise<void> {
  if (options.pipe) {
    if (words.length > 0) throw new UsageError('--pipe reads its commands from standard input');
    if (options.schedule !== undefined) throw new UsageError('a schedule is of one command, not of --pipe');
    await pipe(options.name);
    return;
  }
  if (words.length === 0) throw new UsageError('no command: klpemu exec -- COMMAND [ARGUMENT]...');
  const bytes = words.map(toBytes);
  // One word is a line of the shell's language, several are a command and its arguments.
  if (options.schedule !== undefined) parseSchedule(options.schedule);
  const scheduled = options.schedule === undefined ? {} : { schedule: options.schedule };
  const request = { ...(bytes.length === 1 ? { line: bytes[0] } : { words: bytes }), ...scheduled };
  finish(await ask(options.name, request));
}

/** Prints what a reply says, and sets the exit code. */
export function finish(reply: Reply): void {
  writeResult(reply);
  process.exitCode = reply.status;
  if (reply.failure === undefined) return;
  printError(`klpemu: ${reply.failure}\n`);
  process.exitCode = EXIT.machine;
}

/** Passes command lines on, and what they give back, until every one of them is answered. */
async function pipe(name: string): Promise<void> {
  const socket = await requireConnection(name);
  const answers = new AnswerCounter();
  let asked = 0;
  let over = false;
  let lost = false;
  const endWhenDone = (): void => {
    if (over && answers.count >= asked) socket.end();
  };
  socket.write('{"pipe":true}\n');
  process.on('SIGINT', () => socket.write(`${PIPE_INTERRUPT}\n`));
  process.stdin.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte === NEWLINE) asked++;
    socket.write(chunk);
  });
  process.stdin.on('end', () => {
    over = true;
    endWhenDone();
  });
  socket.on('data', (chunk: Buffer) => {
    answers.add(chunk);
    process.stdout.write(chunk);
    endWhenDone();
  });
  socket.on('error', () => socket.destroy());
  await new Promise<void>((resolve) => {
    socket.on('close', () => {
      lost = answers.count < asked;
      resolve();
    });
  });
  if (lost) printError(`klpemu: the machine '${name}' was ended\n`);
  process.exit(lost ? EXIT.machine : EXIT.ok);
}

const NEWLINE = 0x0a;

/** Counts answers in a stream of `STATUS STDOUT-BYTES STDERR-BYTES` lines, each with those bytes behind it. */
class AnswerCounter {
  count = 0;
  #head = '';
  /** Bytes of the answer that are to come; undefined in its first line. */
  #left: number | undefined;

  add(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length || this.#left === 0) {
      if (this.#left === undefined) {
        const end = chunk.indexOf(NEWLINE, at);
        this.#head += chunk.toString('latin1', at, end < 0 ? chunk.length : end);
        if (end < 0) return;
        const [, out, err] = this.#head.split(' ').map(Number);
        this.#head = '';
        this.#left = out + err;
        at = end + 1;
      } else {
        const taken = Math.min(this.#left, chunk.length - at);
        at += taken;
        this.#left -= taken;
        if (this.#left > 0) return;
        this.#left = undefined;
        this.count++;
      }
    }
  }
}
