// The small values that scenario keys take, as zod schemas that give what the runner works with:
// durations in ns, sizes in bytes, patterns, sites, byte patterns, exit codes.

import { RE2JS } from 're2js';
import * as z from 'zod/mini';
import { UAPI } from '../kernel/uapi.ts';
import { parseDuration, parseSize } from './units.ts';

/** Text to be found: a part of a line, or `/a regular expression/`. */
export interface Pattern {
  readonly text: string;
  /** RE2's: it matches in time that grows with the text only, whatever the expression. */
  readonly regexp?: RE2JS;
}

/** A place in guest text: an address, or a symbol, `module:symbol` and an offset. */
export interface SiteRef {
  readonly text: string;
  readonly symbol?: string;
  readonly offset: number;
  readonly addr?: bigint;
}

/** Bytes to be found; null is any byte. */
export interface BytePattern {
  readonly text: string;
  readonly bytes: readonly (number | null)[];
}

export type ExitCode = number | 'killed';

export function matches(pattern: Pattern, line: string): boolean {
  return pattern.regexp ? pattern.regexp.matcher(line).find() : line.includes(pattern.text);
}

export const text = z.string();
export const count = z.int().check(z.minimum(1));
/** Numbers and truth values where the guest takes text. */
export const scalar = z.pipe(
  z.union([z.string(), z.number(), z.boolean()]),
  z.transform((value) => String(value)),
);

/** A value that is made of a string, or a reason why not. */
function parsed<T>(wanted: string, parse: (text: string) => T | undefined) {
  return z.pipe(
    z.string({ error: `must be ${wanted}` }).check(z.meta({ description: wanted })),
    z.transform((value, ctx): T => {
      const result = parse(value);
      if (result !== undefined) return result;
      ctx.issues.push({ code: 'custom', input: value, message: `'${value}' is not ${wanted}` });
      return z.NEVER;
    }),
  );
}

export const duration = parsed('a duration with a unit (250ms, 1.5s, 10us)', parseDuration);
export const size = parsed('a size with a unit (64MiB, 512KiB)', parseSize);
export const site = parsed('a place in guest text (SYMBOL, MODULE:SYMBOL+0x10 or an address)', parseSite);
export const guestPath = parsed('an absolute path in the guest', (value) =>
  value.startsWith('/') ? value : undefined,
);
export const bytes = parsed("bytes in hex, '??' for any ('e8 ?? ?? ?? ??'), 'nop5' or 'call'", parseBytes);

export const pattern = z.pipe(
  z.string({ error: 'must be text, or a regular expression in slashes' }),
  z.transform((value, ctx): Pattern => {
    const slashes = /^\/(.+)\/(i?)$/s.exec(value);
    if (!slashes) return { text: value };
    try {
      return {
        text: value,
        regexp: RE2JS.compile(slashes[1], slashes[2] === 'i' ? RE2JS.CASE_INSENSITIVE : 0),
      };
    } catch (error) {
      const reason = (error as Error).message.replace(/^error parsing regexp: /, '');
      const message = `not a regular expression of RE2: ${reason}`;
      ctx.issues.push({ code: 'custom', input: value, message });
      return z.NEVER;
    }
  }),
);

/** A positive errno, by name or number. */
export const errno = z.pipe(
  z.union([z.string(), z.int()], { error: 'must be an errno (ENOMEM)' }),
  z.transform((value, ctx): number => {
    if (typeof value === 'number') return value;
    const number = errnoNamed(value);
    if (number !== undefined) return number;
    ctx.issues.push({ code: 'custom', input: value, message: `'${value}' is not the name of an errno` });
    return z.NEVER;
  }),
);

function errnoNamed(name: string): number | undefined {
  const value: unknown = /^E[A-Z0-9]+$/.test(name) ? (UAPI as Record<string, unknown>)[name] : undefined;
  return typeof value === 'number' ? value : undefined;
}

/** An exit code: 0, an errno by name or number, or `killed` by a signal or an oops. */
export const exitCode = z.pipe(
  z.union([z.string(), z.int()], { error: "must be 0, an errno (EINVAL) or 'killed'" }),
  z.transform((value, ctx): ExitCode => {
    if (typeof value === 'number' || value === 'killed') return value;
    const number = errnoNamed(value);
    if (number !== undefined) return number;
    ctx.issues.push({ code: 'custom', input: value, message: `'${value}' is not the name of an errno` });
    return z.NEVER;
  }),
);

const NAMED_BYTES: Record<string, string> = { nop5: '0f 1f 44 00 00', call: 'e8 ?? ?? ?? ??' };

function parseBytes(value: string): BytePattern | undefined {
  const parts = (NAMED_BYTES[value] ?? value).trim().split(/\s+/);
  if (!parts.every((part) => /^([0-9a-fA-F]{2}|\?\?)$/.test(part))) return undefined;
  return { text: value, bytes: parts.map((part) => (part === '??' ? null : Number.parseInt(part, 16))) };
}

export function parseSite(value: string): SiteRef | undefined {
  if (/^0x[0-9a-fA-F]{1,16}$/.test(value)) return { text: value, offset: 0, addr: BigInt(value) };
  const found = /^((?:[\w.-]+:)?[A-Za-z_.][\w.]*)(?:\+(0x[0-9a-fA-F]+|\d+))?$/.exec(value);
  if (!found) return undefined;
  return { text: value, symbol: found[1], offset: Number(found[2] ?? 0) };
}
