// Holds the sources of asm/ to one dialect (asm/README.md).
//
//   npm run asm-format                 names the lines that are written otherwise, and fails if there are any
//   npm run asm-format -- --write      writes them so

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatAsm } from './asm-format/dialect.ts';
import { ScriptError, ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';

/** Relative to the project. */
export function asmSources(): string[] {
  const found = readdirSync(join(ROOT, 'asm'), { recursive: true, encoding: 'utf8' });
  return found
    .filter((file) => /\.(s|inc)$/.test(file))
    .map((file) => join('asm', file))
    .sort();
}

/** Number of the first line that differs. */
function firstDifference(text: string, wanted: string): number {
  const [ours, theirs] = [text.split('\n'), wanted.split('\n')];
  return ours.findIndex((line, i) => line !== theirs[i]) + 1 || ours.length;
}

export function main(args: string[]): void {
  const write = args[0] === '--write';
  if (args.length > (write ? 1 : 0)) throw new ScriptUsageError('usage: npm run asm-format [-- --write]');
  const others: string[] = [];
  const sources = asmSources();
  for (const file of sources) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const wanted = formatAsm(text);
    if (wanted === text) continue;
    others.push(`${file}:${firstDifference(text, wanted)}`);
    if (write) writeFileSync(join(ROOT, file), wanted);
  }
  if (others.length > 0 && !write) {
    throw new ScriptError(
      `not in the dialect of asm/README.md (npm run asm-format -- --write): ${others.join(', ')}`,
    );
  }
  console.log(
    `${sources.length} files of asm/, ${write ? `${others.length} rewritten` : 'all in one dialect'}`,
  );
}
