// What README.md shows of commands: its blocks, the steps of a session with the shell, and whether lines are those.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const README = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');

/** Indented blocks, without their indentation. */
const blocks = README.split(/\n(?! {4}|\n)[^\n]*/)
  .map((block) => block.replace(/^ {4}/gm, '').trim())
  .filter((block) => block !== '');

/** The lines of the first block that has a text. @throws Error if none has */
export function blockWith(text: string): string[] {
  const found = blocks.find((block) => block.includes(text));
  if (found === undefined) throw new Error(`README.md has no block with ${text}`);
  return found.split('\n').map((line) => line.trimEnd());
}

/** Holds lines against a pattern in which `...` is any number of lines. */
export function matches(lines: readonly string[], pattern: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return lines.length === 0;
  if (first.trim() === '...') return rest.length === 0 || lines.some((_, i) => matches(lines.slice(i), rest));
  return lines[0] === first && matches(lines.slice(1), rest);
}

/** Commands behind a prompt, each with the lines that follow it and are not empty. */
export const stepsOf = (session: readonly string[]): string[][] =>
  session
    .join('\n')
    .split(/^# /m)
    .slice(1)
    .map((step) => step.split('\n').filter(Boolean));
