// Numbers and booleans from strings, by the kernel's rules.
// Mirrors lib/kstrtox.c: a result is the value, or -EINVAL or -ERANGE as a number.

import { neg } from './modules.ts';

const U64_MAX = (1n << 64n) - 1n;

/** kstrtoull() with base 0: decimal, 0x hexadecimal, 0 octal; a plus sign and one final newline are allowed. */
export function kstrtoull(text: string): bigint | number {
  return parse(text.startsWith('+') ? text.slice(1) : text);
}

/** kstrtoll() */
export function kstrtoll(text: string): bigint | number {
  if (!text.startsWith('-')) {
    const value = kstrtoull(text);
    return typeof value === 'bigint' && value > U64_MAX >> 1n ? neg('ERANGE') : value;
  }
  const value = parse(text.slice(1));
  if (typeof value === 'number') return value;
  return value > 1n << 63n ? neg('ERANGE') : -value;
}

function parse(text: string): bigint | number {
  const body = text.endsWith('\n') ? text.slice(0, -1) : text;
  const [digits, base] = radix(body);
  const allowed = base === 16 ? /^[0-9a-f]+$/i : base === 8 ? /^[0-7]+$/ : /^[0-9]+$/;
  if (!allowed.test(digits)) return neg('EINVAL');
  const value = BigInt((base === 16 ? '0x' : base === 8 ? '0o' : '') + digits);
  return value > U64_MAX ? neg('ERANGE') : value;
}

function radix(text: string): [string, 8 | 10 | 16] {
  if (!text.startsWith('0')) return [text, 10];
  return /^0x[0-9a-f]/i.test(text) ? [text.slice(2), 16] : [text, 8];
}

/** kstrtobool(): only the first one or two characters count. */
export function kstrtobool(text: string): boolean | number {
  if (/^([yt1]|on)/i.test(text)) return true;
  if (/^([nf0]|of)/i.test(text)) return false;
  return neg('EINVAL');
}
