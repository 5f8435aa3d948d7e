// Who may speak to a served machine: a page of its own address, whose path has the token, and nobody else.
//
// Pages of other origins can have a browser ask anything of 127.0.0.1. What they cannot: choose Host and Origin, know the
// token, or read what is answered.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

interface Refusal {
  readonly status: 400 | 403 | 404 | 405 | 415;
  readonly why: string;
}

/** Sent with every answer. Nothing is loaded from elsewhere, framed, kept, or told to where a link leads. */
export const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/** 256 bits, as a part of a path. */
export const newToken = (): string => randomBytes(32).toString('base64url');

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

export class Guard {
  readonly #token: Buffer;
  readonly #hosts: readonly string[];

  constructor(token: string, port: number) {
    this.#token = digest(token);
    this.#hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
  }

  /** @returns the path behind the token, or why it is refused */
  admit({ method, url = '', headers }: IncomingMessage): string | Refusal {
    const { host, origin } = headers;
    // A name that somebody else has lead here is a host of theirs.
    if (host === undefined || !this.#hosts.includes(host)) return { status: 403, why: 'another host' };
    if (origin !== undefined && origin !== `http://${host}`) return { status: 403, why: 'another origin' };
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none')
      return { status: 403, why: 'another site' };
    const [, token, path] = /^\/([^/?#]*)\/([^?#]*)$/.exec(url) ?? [];
    // Digests are of one length, and say nothing of how much of a guess was right.
    const isRight = timingSafeEqual(digest(token ?? ''), this.#token);
    if (!isRight || path === undefined) return { status: 404, why: 'nothing is here' };
    if (method === 'GET') return path;
    if (method !== 'POST') return { status: 405, why: 'GET or POST' };
    if (origin === undefined) return { status: 403, why: 'no origin' };
    // A form of another page cannot have this type.
    if (headers['content-type'] !== 'application/json') return { status: 415, why: 'application/json' };
    return path;
  }
}
