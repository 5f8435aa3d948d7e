// What commands on text share: their inputs, lines, and the word for an option that they do not have.

import type { Invocation } from '../command.ts';
import { errnoText } from '../errno_text.ts';
import type { GrepPattern } from '../regex.ts';
import { failed, type Output, type Result } from '../result.ts';

/** Text of each operand, `-` and none being the standard input. Files that cannot be read are complained about. */
export async function* inputs(
  name: string,
  { stdin, shell }: Invocation,
  paths: readonly string[],
  output: Output,
  status = 1,
): AsyncIterableIterator<{ path: string | undefined; text: string }> {
  for (const path of paths.length > 0 ? paths : ['-']) {
    if (path === '-') yield { path: undefined, text: stdin ?? '' };
    else {
      const text = await shell.guest.read(path, name);
      if (typeof text === 'string') yield { path, text };
      else output.error(`${name}: ${path}: ${errnoText(text)}`, status);
    }
  }
}

export function linesOf(text: string): string[] {
  if (text === '') return [];
  return (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
}

/** A line, without its end, and which one it is, from 1. */
interface Line {
  readonly text: string;
  readonly number: number;
}

/** Lines that match, or those that do not: each is looked for when it is asked for. */
export function* matchingLines(
  text: string,
  pattern: GrepPattern,
  inverted: boolean,
): IterableIterator<Line> {
  const { needle } = pattern;
  let number = 0;
  for (let start = 0; start < text.length; ) {
    if (needle !== undefined && !inverted) {
      const found = text.indexOf(needle, start);
      if (found < 0) return;
      for (let end = text.indexOf('\n', start); end >= 0 && end < found; end = text.indexOf('\n', start)) {
        start = end + 1;
        number++;
      }
    }
    const next = text.indexOf('\n', start);
    const end = next < 0 ? text.length : next;
    const line = text.slice(start, end);
    number++;
    if (pattern.test(line) !== inverted) yield { text: line, number };
    start = end + 1;
  }
}

export const joined = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

export function invalidOption(name: string, unknown: string, status = 1): Result {
  const text = unknown.startsWith('--')
    ? `${name}: unrecognized option '${unknown}'`
    : `${name}: invalid option -- '${unknown.slice(1)}'`;
  return failed(text, status);
}
