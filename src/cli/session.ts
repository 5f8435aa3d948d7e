// A machine in the background and its clients: where its socket is, and what is said over it.
//
// A client says one JSON object a line and gets one back. After {"pipe":true} it says command lines, and gets for each
// `STATUS STDOUT-BYTES STDERR-BYTES` on a line, then those bytes: what a shell script can read with `read -N`.

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Result } from '../shell/result.ts';
import type { Shell } from '../shell/shell.ts';
import { UsageError } from './exit.ts';
import { DEFAULT_NAME } from './shell_options.ts';

export type Request =
  | { readonly line: string }
  /** @param put a file of the host that the command finds in the guest, under another path, while it runs. */
  | { readonly words: readonly string[]; readonly put?: { readonly from: string; readonly to: string } }
  | { readonly pipe: true }
  | { readonly down: true }
  | { readonly who: true };

type WordsRequest = Extract<Request, { readonly words: readonly string[] }>;

export interface Reply extends Result {
  /** The machine cannot go on: why. */
  readonly failure?: string;
  readonly pid?: number;
}

/** How often the server looks whether its socket is still there. */
const LOOK_MS = 5000;
/** Longest request, bytes. */
const REQUEST_MAX = 1 << 20;

/** The socket of a machine of that name. @throws UsageError */
export function socketPath(name: string): string {
  if (!/^[\w.-]+$/.test(name) || name.startsWith('.'))
    throw new UsageError(`'${name}' is no name for a machine: letters, digits, _ . -`);
  const base = process.env.XDG_RUNTIME_DIR || join(tmpdir(), `klpemu-${process.getuid?.() ?? 0}`);
  mkdirSync(base, { recursive: true, mode: 0o700 });
  return join(base, `klpemu-${name}.sock`);
}

/** A connection to the machine of a name; undefined when none is up. */
export function connectTo(name: string): Promise<Socket | undefined> {
  const path = socketPath(name);
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
  });
}

/** @throws UsageError when no machine of that name is up. */
export async function requireConnection(name: string): Promise<Socket> {
  const socket = await connectTo(name);
  if (socket) return socket;
  const which = name === DEFAULT_NAME ? '' : ` --name ${name}`;
  throw new UsageError(`no machine '${name}' is up: klpemu up${which} starts one`);
}

/** Asks one thing. */
export async function ask(name: string, request: Request): Promise<Reply> {
  const socket = await requireConnection(name);
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      socket.end();
      resolve(JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as Reply);
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new UsageError(`the machine '${name}' went away`)));
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

/** Serves a shell on a socket until somebody says down. Requests are answered one after the other. */
export class SessionServer {
  readonly #shell: Shell;
  readonly #path: string;
  readonly #server: Server;
  /** The request that is being worked on, and those that wait. */
  #busy: Promise<void> = Promise.resolve();
  #serving: Socket | undefined;
  readonly done: Promise<void>;
  #finish: () => void = () => {};

  constructor(shell: Shell, name: string) {
    this.#shell = shell;
    this.#path = socketPath(name);
    this.#server = createServer((socket) => this.#accept(socket));
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Whoever holds the name was asked before: what is left of it is stale. */
  listen(): Promise<void> {
    rmSync(this.#path, { force: true });
    // Without its socket nobody can reach the machine, nor end it.
    setInterval(() => {
      if (!existsSync(this.#path)) this.close();
    }, LOOK_MS).unref();
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#path, resolve);
    });
  }

  close(): void {
    this.#server.close();
    rmSync(this.#path, { force: true });
    this.#finish();
  }

  #accept(socket: Socket): void {
    let text = '';
    let pipe = false;
    socket.on('close', () => {
      // Nobody waits for the command any more.
      if (this.#serving === socket) this.#shell.context.interrupted = true;
    });
    socket.setEncoding('latin1');
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (pipe) this.#queue(socket, () => this.#answerPipe(socket, line));
        else if (isPipeRequest(line)) pipe = true;
        else this.#queue(socket, () => this.#answer(socket, line));
      }
      if (text.length > REQUEST_MAX) socket.destroy();
    });
  }

  #queue(socket: Socket, work: () => Promise<void>): void {
    const serve = async (): Promise<void> => {
      this.#serving = socket;
      await work();
      this.#serving = undefined;
    };
    this.#busy = this.#busy.then(serve, serve);
  }

  async #answer(socket: Socket, line: string): Promise<void> {
    let request: Request;
    try {
      request = JSON.parse(Buffer.from(line, 'latin1').toString('utf8')) as Request;
    } catch {
      socket.destroy();
      return;
    }
    const reply = await this.#reply(request);
    socket.end(`${JSON.stringify(reply)}\n`, () => {
      if ('down' in request) this.close();
    });
  }

  async #reply(request: Request): Promise<Reply> {
    const nothing = { status: 0, stdout: '', stderr: '', pid: process.pid };
    if ('line' in request) return this.#run(() => this.#shell.execute(request.line));
    if ('words' in request) return this.#run(() => this.#runWith(request));
    return nothing;
  }

  async #runWith({ words, put }: WordsRequest): Promise<Result> {
    if (!put) return this.#shell.run(words);
    const { fs } = this.#shell.context.guest.machine;
    fs.addFile(put.to, readFileSync(put.from));
    try {
      return await this.#shell.run(words);
    } finally {
      fs.ramfs.remove(put.to);
    }
  }

  async #answerPipe(socket: Socket, line: string): Promise<void> {
    const { status, stdout, stderr, failure } = await this.#run(() => this.#shell.execute(line));
    const errors = failure === undefined ? stderr : `${stderr}klpemu: ${failure}\n`;
    socket.write(`${status} ${stdout.length} ${errors.length}\n${stdout}${errors}`, 'latin1');
  }

  /** A machine that has stopped for good answers everything with the reason. */
  async #run(work: () => Promise<Result>): Promise<Reply> {
    try {
      const result = await work();
      // `exit` ends the line that it is in, not the machine.
      this.#shell.exited = undefined;
      return result;
    } catch (error) {
      return { status: 1, stdout: '', stderr: '', failure: (error as Error).message };
    }
  }
}

function isPipeRequest(line: string): boolean {
  return line.startsWith('{') && /^\{\s*"pipe"\s*:\s*true\s*\}$/.test(line);
}
