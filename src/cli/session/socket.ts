// Where the machine of a name is found: its socket, in a folder that is ours alone, and who claims the name.
//
// Invariant: nobody else can reach the socket, and one process at a time has a name.

import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemReason, UsageError } from '../exit.ts';
import { DEFAULT_NAME } from '../shell/options.ts';
import { MachineDied } from './machine_process.ts';

/** sun_path of struct sockaddr_un, without its final zero. */
const PATH_MAX = 107;

export interface SessionPaths {
  readonly socket: string;
  /** Who serves it: `PID STARTTIME`. */
  readonly claim: string;
}

/** @throws UsageError */
export function sessionPaths(name: string): SessionPaths {
  if (!/^[\w.-]+$/.test(name) || name.startsWith('.'))
    throw new UsageError(`'${name}' is no name for a machine: letters, digits, _ . -`);
  const base = socketFolder();
  const socket = join(base, `klpemu-${name}.sock`);
  const length = Buffer.byteLength(socket);
  if (length > PATH_MAX)
    throw new UsageError(
      `${socket}: ${length} bytes are too long for a socket (at most ${PATH_MAX}): a shorter name, or another XDG_RUNTIME_DIR`,
    );
  return { socket, claim: join(base, `klpemu-${name}.pid`) };
}

function socketFolder(): string {
  const given = process.env.XDG_RUNTIME_DIR;
  const base = given || join(tmpdir(), `klpemu-${process.getuid?.() ?? 0}`);
  const what = given ? 'XDG_RUNTIME_DIR' : 'the folder for sockets';
  try {
    mkdirSync(base, { mode: 0o700 });
    chmodSync(base, 0o700);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new UsageError(`${what} cannot be used: ${message}`);
  }
  // In a folder that everybody writes to, a link may be anybody's.
  const stat = given ? statSync(base) : lstatSync(base);
  const { uid, mode } = stat;
  const wrong = !stat.isDirectory()
    ? 'is no directory'
    : uid !== process.getuid?.()
      ? `belongs to another user (uid ${uid})`
      : (mode & 0o777) !== 0o700
        ? `is open to others (mode ${(mode & 0o777).toString(8)}; it must be 700)`
        : undefined;
  if (wrong) throw new UsageError(`${what} cannot be used: ${base} ${wrong}`);
  return base;
}

/** Takes a name for this process. @returns false: another one has it */
export function claimName({ claim }: SessionPaths): boolean {
  for (;;) {
    try {
      const fd = openSync(claim, 'wx', 0o600);
      writeSync(fd, `${process.pid} ${startTime(process.pid)}\n`);
      closeSync(fd);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (claimant({ claim })?.alive) return false;
      rmSync(claim, { force: true });
    }
  }
}

/** Gives back what this process has claimed; what another one has since is not touched. */
export function releaseName(paths: SessionPaths): void {
  if (claimant(paths)?.pid !== process.pid) return;
  rmSync(paths.socket, { force: true });
  rmSync(paths.claim, { force: true });
}

/** Takes away what a process that has died has left. */
export function clearRemains(paths: SessionPaths): void {
  if (claimant(paths)?.alive) return;
  rmSync(paths.socket, { force: true });
  rmSync(paths.claim, { force: true });
}

/** Who has claimed a name; undefined: nobody. */
export function claimant({
  claim,
}: Pick<SessionPaths, 'claim'>): { pid: number; alive: boolean } | undefined {
  let text: string;
  try {
    text = readFileSync(claim, 'latin1');
  } catch {
    return undefined;
  }
  const [, pid, time] = /^(\d+) (\d*)\n$/.exec(text) ?? [];
  // The moment between making and writing it.
  if (pid === undefined) return { pid: 0, alive: text === '' && Date.now() - statMs(claim) < 1000 };
  return { pid: Number(pid), alive: startTime(Number(pid)) === time };
}

function statMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** When a process began, so that another one with its number is not taken for it; undefined: there is none. */
function startTime(pid: number): string | undefined {
  try {
    // Its name, in brackets, may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    // Ended, and nobody has asked how.
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    try {
      process.kill(pid, 0);
      return '';
    } catch {
      return undefined;
    }
  }
}

/** A connection to the machine of a name; undefined when none is up. @throws MachineDied for one that was */
export async function connectTo(name: string): Promise<Socket | undefined> {
  const paths = sessionPaths(name);
  const socket = await connection(paths.socket);
  if (socket) return socket;
  const owner = claimant(paths);
  if (!owner) return undefined;
  // It is about to listen, or has just ended.
  if (owner.alive) return connection(paths.socket);
  throw new MachineDied(
    `the machine '${name}' is gone: its process (${owner.pid}) was killed by somebody, or because the memory of the computer was full`,
  );
}

function connection(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(new UsageError(`${path}: ${systemReason(error)}`));
    });
  });
}

/** @throws UsageError when no machine of that name is up; MachineDied */
export async function requireConnection(name: string): Promise<Socket> {
  const socket = await connectTo(name);
  if (socket) return socket;
  const which = name === DEFAULT_NAME ? '' : ` --name ${name}`;
  throw new UsageError(`no machine '${name}' is up: klpemu up${which} starts one`);
}
