// Where debuggers come from: a loopback port, a unix socket, or standard input and output. One at a time; when one goes
// away without a word the machine waits for the next.

import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { Connection } from './connection.ts';
import type { Session } from './session.ts';
import type { Farewell } from './stub.ts';

/** A port of this computer alone (0: any), or the path of a socket. */
type Address = { readonly port: number } | { readonly path: string };

/** @returns how it ended, when it has */
export type Serve = (socket: Socket) => Promise<Farewell | 'lost'>;

const LOOPBACK = '127.0.0.1';

export class DebugServer {
  readonly #serve: Serve;
  readonly #server: Server;
  #busy = false;
  readonly done: Promise<Farewell>;
  #end: (how: Farewell) => void = () => {};

  /** @param serve serves one debugger */
  constructor(serve: Serve) {
    this.#serve = serve;
    this.#server = createServer((socket) => this.#accept(socket));
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** @returns what a debugger is told to connect to. @throws Error of the system */
  async listen(address: Address): Promise<string> {
    const umask = 'path' in address ? process.umask(0o177) : undefined;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      if ('path' in address) this.#server.listen(address.path, resolve);
      else this.#server.listen(address.port, LOOPBACK, resolve);
      if (umask !== undefined) process.umask(umask);
    });
    if ('path' in address) {
      chmodSync(address.path, 0o600);
      return address.path;
    }
    const { port } = this.#server.address() as { port: number };
    return `localhost:${port}`;
  }

  #accept(socket: Socket): void {
    if (this.#busy) {
      socket.destroy();
      return;
    }
    this.#busy = true;
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    void this.#serve(socket).then((how) => {
      this.#busy = false;
      socket.end();
      if (how !== 'lost') this.#end(how);
    });
  }

  close(path?: string): void {
    this.#server.close();
    if (path !== undefined) rmSync(path, { force: true });
  }
}

/** Serves those who come to a session, one after the other. */
export const toSession =
  (session: Session): Serve =>
  async (socket) => {
    const connection = connect(
      session,
      (bytes) => void socket.write(bytes, 'latin1'),
      (hears) => socket.setEncoding('latin1').on('data', hears),
    );
    socket.on('close', () => connection.lost());
    const how = await connection.done;
    // What it has set is its own.
    session.points.clear();
    return how;
  };

/** Serves whoever is at the other end of a pipe. @returns how it ended */
export function serveStreams(
  session: Session,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
): Promise<Farewell | 'lost'> {
  const connection = connect(
    session,
    (bytes) => void output.write(bytes, 'latin1'),
    (hears) => input.setEncoding('latin1').on('data', hears),
  );
  input.on('end', () => connection.lost());
  output.on('error', () => connection.lost());
  return connection.done;
}

function connect(
  session: Session,
  send: (bytes: string) => void,
  listen: (hears: (bytes: string) => void) => void,
): Connection {
  const connection = new Connection(session, send);
  listen((bytes) => connection.take(bytes));
  return connection;
}
