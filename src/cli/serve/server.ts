// The page of a live machine, over HTTP on the loopback interface: three files, a stream of what happens, and what is asked.

import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { packageRoot } from '../../guest/package_root.ts';
import { livePage } from '../../timeline/html.ts';
import type { LiveMessage } from '../../timeline/live_format.ts';
import { systemReason, UsageError } from '../exit.ts';
import { Guard, HEADERS, newToken } from './guard.ts';
import { type Control, MOST_STEPS, SPEEDS } from './words.ts';

const LOOPBACK = '127.0.0.1';
/** Longest question, bytes; most who look at once; and of what was said, how much is told to who comes later. */
const ASKED_MAX = 64 << 10;
const MOST_STREAMS = 16;
const MOST_SAID = 500;

const moment = z.union([
  z.strictObject({ instructions: z.int().check(z.gte(0)) }),
  z.strictObject({ now: z.number().check(z.gte(0), z.lte(1e18)) }),
]);
const ASKED = z.union([
  z.strictObject({ line: z.string() }),
  z.strictObject({ complete: z.string() }),
  z.strictObject({ do: z.enum(['play', 'pause', 'next', 'interrupt']) }),
  z.strictObject({ do: z.literal('step'), count: z.int().check(z.gte(1), z.lte(MOST_STEPS)) }),
  z.strictObject({
    do: z.literal('speed'),
    speed: z.number().check(z.gte(SPEEDS.min), z.lte(SPEEDS.max)),
  }),
  z.strictObject({ do: z.literal('back'), to: z.optional(moment) }),
]);

interface Asked {
  type(line: string): Promise<void>;
  control(control: Control): Promise<void>;
  complete(line: string): { readonly words: readonly string[]; readonly word: string };
}

interface Answer {
  readonly type: string;
  readonly text: string;
}

const FILES: Readonly<Record<string, () => Answer>> = {
  '': () => ({ type: 'text/html', text: livePage() }),
  'live.js': () => ({ type: 'text/javascript', text: built('live.js') }),
  'live.css': () => ({ type: 'text/css', text: built('page.css') + built('live.css') }),
};
const built = (name: string): string => readFileSync(join(packageRoot(), 'dist/timeline', name), 'utf8');

export class PageServer {
  readonly #token = newToken();
  readonly #server: Server;
  readonly #streams = new Set<ServerResponse>();
  /** Of the machine that is there, for who comes later. */
  #story: string[] = [];
  readonly #said: string[] = [];
  #state = '';
  #guard: Guard | undefined;
  #asked: Asked | undefined;

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.headersTimeout = 10_000;
    this.#server.requestTimeout = 10_000;
  }

  /** @param port 0 for any that is free @returns the address of the page @throws UsageError */
  async listen(port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) =>
        reject(new UsageError(`port ${port} of ${LOOPBACK} cannot be used: ${reasonOf(error)}`)),
      );
      this.#server.listen(port, LOOPBACK, resolve);
    });
    const { port: taken } = this.#server.address() as AddressInfo;
    this.#guard = new Guard(this.#token, taken);
    return `http://${LOOPBACK}:${taken}/${this.#token}/`;
  }

  /** @param asked who answers from now on */
  answerBy(asked: Asked): void {
    this.#asked = asked;
  }

  /** To all who look, and who comes later. */
  tell(message: LiveMessage): void {
    const text = JSON.stringify(message);
    if ('begin' in message) this.#story = [text];
    else if ('happened' in message) this.#story.push(text);
    else if ('said' in message) {
      this.#said.push(text);
      if (this.#said.length > MOST_SAID) this.#said.shift();
    } else if (text === this.#state) return;
    else this.#state = text;
    for (const stream of this.#streams) stream.write(`data: ${text}\n\n`);
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.end();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    const path = (this.#guard as Guard).admit(request);
    if (typeof path !== 'string') {
      answer(response, path.status, { type: 'text/plain', text: `${path.why}\n` });
      return;
    }
    if (request.method === 'POST') await this.#ask(path, request, response);
    else if (path === 'stream') this.#stream(response);
    else this.#file(path, response);
  }

  #file(path: string, response: ServerResponse): void {
    if (Object.hasOwn(FILES, path)) answer(response, 200, FILES[path]());
    else answer(response, 404, { type: 'text/plain', text: 'nothing is here\n' });
  }

  #stream(response: ServerResponse): void {
    if (this.#streams.size >= MOST_STREAMS) {
      answer(response, 503, { type: 'text/plain', text: 'enough look at it\n' });
      return;
    }
    response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream; charset=utf-8' });
    for (const text of [...this.#story, ...this.#said, this.#state].filter(Boolean))
      response.write(`data: ${text}\n\n`);
    this.#streams.add(response);
    response.on('close', () => this.#streams.delete(response));
  }

  async #ask(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, text: string): void =>
      answer(response, status, { type: 'text/plain', text: `${text}\n` });
    if (path !== 'ask') return refuse(404, 'nothing is here');
    const body = await bodyOf(request);
    if (body === undefined) return refuse(413, `at most ${ASKED_MAX} bytes`);
    const asked = ASKED.safeParse(jsonOf(body));
    if (!asked.success) return refuse(400, 'line, complete or do');
    const { data } = asked;
    const to = this.#asked;
    if (!to) return refuse(503, 'the machine boots');
    if ('complete' in data) return answer(response, 200, jsonAnswer(to.complete(data.complete)));
    // What comes of it is in the stream.
    answer(response, 200, jsonAnswer({}));
    if ('line' in data) await to.type(data.line);
    else await to.control(data as Control);
  }
}

const reasonOf = (error: Error): string => systemReason(error).replace(/^listen E\w+: /, '');

const jsonAnswer = (value: unknown): Answer => ({ type: 'application/json', text: JSON.stringify(value) });

function answer(response: ServerResponse, status: number, { type, text }: Answer): void {
  response.writeHead(status, { ...HEADERS, 'Content-Type': `${type}; charset=utf-8` });
  response.end(text);
}

/** undefined: it is too long, or broke off. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      size += (chunk as Buffer).length;
      if (size > ASKED_MAX) return undefined;
      chunks.push(chunk as Buffer);
    }
  } catch {
    return undefined;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
