// What clients say to a machine in the background, one JSON object a line, and what they hear.
//
// After {"pipe":true} a client says command lines, and gets for each `STATUS STDOUT-BYTES STDERR-BYTES` on a line, then
// those bytes: what a shell script can read with `read -N`. The character ETX (Ctrl-C) as a line ends the command that
// runs; it gets no answer of its own.

import { toBytes } from '../shell/text.ts';
import type { Reply, Work } from './machine_work.ts';

export type Request =
  | Exclude<Work, { readonly complete: string }>
  | { readonly pipe: true }
  /** Ends the command that this client waits for. */
  | { readonly interrupt: true }
  /** Whether the machine lives, and is at a command; answered at once. */
  | { readonly state: true }
  /** What follows is gdb's remote protocol, in both directions, when that is answered. */
  | { readonly gdb: true }
  | { readonly down: true };

/** What ends a command of a pipe, as a line. */
export const PIPE_INTERRUPT = '\x03';

/** Longest request, bytes: a command with the file that it is given. */
export const REQUEST_MAX = 64 << 20;

/** Reads a request; a text says what is wrong with it. @param line one character a byte */
export function parseRequest(line: string): Request | string {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(line, 'latin1').toString('utf8'));
  } catch {
    return 'a request is one JSON object on a line';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return 'a request is a JSON object';
  const {
    line: text,
    words,
    put,
    schedule,
    pipe,
    interrupt,
    state,
    gdb,
    down,
  } = value as Record<string, unknown>;
  if (schedule !== undefined && typeof schedule !== 'string') return 'a schedule is a text';
  const scheduled = schedule === undefined ? {} : { schedule };
  if (typeof text === 'string') return { line: text, ...scheduled };
  if (words !== undefined) {
    const request = wordsRequest(words, put);
    return typeof request === 'string' ? request : { ...request, ...scheduled };
  }
  if (pipe === true) return { pipe };
  if (interrupt === true) return { interrupt };
  if (state === true) return { state };
  if (gdb === true) return { gdb };
  if (down === true) return { down };
  return 'a request has line, words, pipe, interrupt, state, gdb or down';
}

function wordsRequest(words: unknown, put: unknown): Request | string {
  if (!Array.isArray(words) || !words.every((word) => typeof word === 'string'))
    return 'words are a list of texts';
  if (put === undefined) return { words };
  const { bytes, to } = (put ?? {}) as Record<string, unknown>;
  if (typeof bytes !== 'string' || typeof to !== 'string' || !to.startsWith('/'))
    return 'put has bytes (in base64) and to (a path of the guest)';
  return { words, put: { bytes, to } };
}

/** What a pipe says of a command line: text of one character a byte. */
export function pipeAnswer({ status, stdout, stderr, failure }: Reply): string {
  const errors = failure === undefined ? stderr : `${stderr}klpemu: ${toBytes(failure)}\n`;
  return `${status} ${stdout.length} ${errors.length}\n${stdout}${errors}`;
}
