// klpemu shell --pipe: command lines from standard input, and for each its answer on standard output, as `klpemu exec --pipe`
// gives them. The machine is this process's own, so that nothing stands between a script and it.

import { readSync } from 'node:fs';
import { EXIT } from '../exit.ts';
import { pipeAnswer } from '../session/protocol.ts';
import { replyTo } from '../session/reply.ts';
import { whenReady, writeWhole } from '../write_whole.ts';
import type { KeptShell } from './options.ts';

const STDIN = 0;
const STDOUT = 1;
const CHUNK = 65536;

/** Ends with standard input. */
export async function servePipe({ shell, past }: KeptShell): Promise<void> {
  let failed = false;
  for (const line of linesOf(STDIN)) {
    const reply = await past.perform(shell, (on) => replyTo(on, { line }));
    failed ||= reply.failure !== undefined;
    if (!isRead(Buffer.from(pipeAnswer(reply), 'latin1'))) break;
  }
  process.exitCode = failed ? EXIT.machine : EXIT.ok;
}

/** Writes to standard output. @returns false when nobody reads it any more */
function isRead(bytes: Uint8Array): boolean {
  try {
    writeWhole(STDOUT, bytes);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    return false;
  }
}

/** Lines of a descriptor as they come, one character a byte. */
function* linesOf(fd: number): IterableIterator<string> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  let text = '';
  for (;;) {
    const count = whenReady(() => readSync(fd, chunk));
    if (count === 0) break;
    text += chunk.toString('latin1', 0, count);
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
  if (text !== '') yield text;
}
