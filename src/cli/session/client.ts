// A client of the machine of a name: asks one thing, and ends it when Ctrl-C is pressed.

import { UsageError } from '../exit.ts';
import { MachineDied } from './machine_process.ts';
import type { Reply } from './machine_work.ts';
import type { Request } from './protocol.ts';
import {
  claimant,
  clearRemains,
  connectTo,
  requireConnection,
  type SessionPaths,
  sessionPaths,
} from './socket.ts';

/** How long a machine may take to answer `down` before its process is ended. */
const DOWN_MS = 5000;
/** How long a process may take to be gone that has said it goes, and how often that is looked at. */
const GONE_MS = 1000;
const LOOK_MS = 10;
const INTERRUPTED = 130;

/** Asks one thing. @throws MachineDied when it goes away instead of answering */
export async function ask(name: string, request: Request): Promise<Reply> {
  const socket = await requireConnection(name);
  return new Promise((resolve, reject) => {
    let text = '';
    let interrupts = 0;
    const onInterrupt = (): void => {
      // Whoever presses it twice does not want to wait for what becomes of the command.
      if (++interrupts > 1) process.exit(INTERRUPTED);
      socket.write('{"interrupt":true}\n');
    };
    process.on('SIGINT', onInterrupt);
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      process.off('SIGINT', onInterrupt);
      socket.end();
      const reply = JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as Reply | { error: string };
      if ('error' in reply) reject(new UsageError(reply.error));
      else resolve(reply);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => reject(new MachineDied(`the machine '${name}' was ended`)));
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

/** What came of ending a machine. */
interface Downed {
  /** Why it had died before. */
  readonly death?: string;
  /** Its process did not answer and was killed. */
  readonly forced?: boolean;
}

/** Ends the machine of a name. @returns undefined: there is none */
export async function endMachine(name: string): Promise<Downed | undefined> {
  const paths = sessionPaths(name);
  const owner = claimant(paths);
  let timer: NodeJS.Timeout | undefined;
  try {
    if (!(await connected(name))) return undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), DOWN_MS);
    });
    const reply = await Promise.race([ask(name, { down: true }), late]);
    const downed =
      reply === 'late' ? { forced: true } : reply.failure === undefined ? {} : { death: reply.failure };
    // Its machine ends with it.
    if (reply === 'late' && owner?.alive) process.kill(owner.pid, 'SIGKILL');
    await gone(paths);
    clearRemains(paths);
    return downed;
  } catch (error) {
    if (!(error instanceof MachineDied)) throw error;
    clearRemains(paths);
    return { death: error.message };
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until the name is free. */
async function gone(paths: SessionPaths): Promise<void> {
  for (let ms = 0; ms < GONE_MS && claimant(paths)?.alive; ms += LOOK_MS)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

async function connected(name: string): Promise<boolean> {
  const socket = await connectTo(name);
  socket?.destroy();
  return socket !== undefined;
}
