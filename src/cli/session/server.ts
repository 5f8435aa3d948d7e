// Serves a machine on a socket until somebody says down. Clients' commands are done one after the other; that a client
// goes away, that a command or the machine is to end is heard at any time.
//
// Invariant: nothing that a client says ends the machine but `down`.

import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { MachineProcess } from './machine_process.ts';
import type { Reply } from './machine_work.ts';
import { PIPE_INTERRUPT, parseRequest, pipeAnswer, REQUEST_MAX, type Request } from './protocol.ts';
import { releaseName, type SessionPaths } from './socket.ts';

type Command = Extract<Request, { readonly line: string } | { readonly words: readonly string[] }>;

/** How often the server looks whether its socket is still there. */
const LOOK_MS = 5000;
/** How long what is said last may take to leave. */
const FAREWELL_MS = 500;

export class SessionServer {
  readonly #machine: Promise<MachineProcess>;
  readonly #paths: SessionPaths;
  readonly #server: Server;
  /** Whose command runs. */
  #serving: Socket | undefined;
  readonly done: Promise<void>;
  #finish: () => void = () => {};

  /** @param machine may still be booting: clients wait for it */
  constructor(machine: Promise<MachineProcess>, paths: SessionPaths) {
    this.#machine = machine;
    this.#paths = paths;
    this.#server = createServer((socket) => this.#accept(socket));
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** The name is claimed: what is left under it is stale. */
  async listen(): Promise<void> {
    const { socket } = this.#paths;
    rmSync(socket, { force: true });
    // Nobody can connect before it has its mode.
    const umask = process.umask(0o177);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socket, resolve);
      process.umask(umask);
    });
    chmodSync(socket, 0o600);
    // Without its socket nobody can reach the machine, nor end it.
    setInterval(() => {
      if (!existsSync(socket)) this.close();
    }, LOOK_MS).unref();
  }

  close(): void {
    this.#server.close();
    releaseName(this.#paths);
    this.#finish();
  }

  #accept(socket: Socket): void {
    let text = '';
    let pipe = false;
    let relayed: ((bytes: string) => void) | undefined;
    socket.on('close', () => this.#interrupt(socket));
    socket.setEncoding('latin1');
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: string) => {
      if (relayed) {
        relayed(chunk);
        return;
      }
      text += chunk;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (pipe) this.#pipeLine(socket, line);
        else if (isDebugger(line)) relayed = this.#debugger(socket);
        else pipe = this.#requestLine(socket, line);
      }
      if (text.length > REQUEST_MAX) this.#refuse(socket, `a request has at most ${REQUEST_MAX} bytes`);
    });
  }

  /** A debugger comes. @returns where what it says goes */
  #debugger(socket: Socket): (bytes: string) => void {
    let say = (_: string): void => {};
    this.#whenUp(async (machine) => {
      const at = await machine.debug(
        (bytes) => send(socket, bytes, 'latin1'),
        () => socket.destroySoon(),
      );
      if (typeof at === 'string') {
        this.#refuse(socket, at);
        return;
      }
      say = (bytes) => at.say(bytes);
      socket.on('close', () => at.gone());
      if (socket.destroyed) at.gone();
      else send(socket, '{"gdb":true}\n');
    });
    return (bytes) => say(bytes);
  }

  /** The client does not wait any more for the command that runs. */
  #interrupt(socket: Socket): void {
    if (this.#serving === socket) this.#whenUp((machine) => machine.interrupt());
  }

  /** @returns whether command lines follow. */
  #requestLine(socket: Socket, line: string): boolean {
    const request = parseRequest(line);
    if (typeof request === 'string') this.#refuse(socket, request);
    else if ('pipe' in request) return true;
    else if ('interrupt' in request) this.#interrupt(socket);
    else if ('state' in request) this.#state(socket);
    else if ('down' in request) this.#down(socket);
    else if (!('gdb' in request))
      this.#ask(socket, request, (reply) => send(socket, `${JSON.stringify(reply)}\n`));
    return false;
  }

  #refuse(socket: Socket, why: string): void {
    send(socket, `${JSON.stringify({ error: why })}\n`);
    socket.destroySoon();
  }

  #pipeLine(socket: Socket, line: string): void {
    if (line === PIPE_INTERRUPT) this.#interrupt(socket);
    else this.#ask(socket, { line }, (reply) => send(socket, pipeAnswer(reply), 'latin1'));
  }

  /** @param told not called when the client was gone before its turn came. */
  #ask(socket: Socket, command: Command, told: (reply: Reply) => void): void {
    const wanted = (): boolean => {
      if (socket.destroyed) return false;
      this.#serving = socket;
      return true;
    };
    this.#whenUp(async (machine) => {
      const work = 'line' in command ? { ...command, alone: true } : command;
      const reply = await machine.ask(work, wanted);
      if (this.#serving === socket) this.#serving = undefined;
      if (reply) told(reply);
    });
  }

  #state(socket: Socket): void {
    this.#whenUp(({ death }) => {
      const failure = death === undefined ? {} : { failure: death };
      const busy = this.#serving !== undefined;
      send(socket, `${JSON.stringify({ status: 0, stdout: '', stderr: '', busy, ...failure })}\n`);
    });
  }

  #down(socket: Socket): void {
    const end = (failure?: string): void => {
      const reply: Reply = {
        status: 0,
        stdout: '',
        stderr: '',
        ...(failure === undefined ? {} : { failure }),
      };
      socket.write(`${JSON.stringify(reply)}\n`, () => this.close());
      // Whoever asked may be gone, or not listen.
      setTimeout(() => this.close(), FAREWELL_MS);
    };
    // One that boots ends with this process.
    const patience = setTimeout(end, FAREWELL_MS);
    this.#whenUp((machine) => {
      clearTimeout(patience);
      const { death } = machine;
      machine.kill();
      end(death);
    });
  }

  /** That it does not come up at all is told to whoever starts it. */
  #whenUp(work: (machine: MachineProcess) => void): void {
    this.#machine.then(work, () => {});
  }
}

function isDebugger(line: string): boolean {
  const request = parseRequest(line);
  return typeof request !== 'string' && 'gdb' in request;
}

function send(socket: Socket, text: string, encoding: 'utf8' | 'latin1' = 'utf8'): void {
  if (socket.writable) socket.write(text, encoding);
}
