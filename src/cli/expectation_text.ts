// A failed expectation, with what was seen instead.

import type { Expectation } from '../scenario/report.ts';
import type { Colors } from './terminal.ts';

export function expectationText({ place, path, expected, seen }: Expectation, colors: Colors): string {
  const where = `${place.file}:${place.line}:${place.column}`;
  return (
    `${colors.red('FAILED')} ${where}: ${path}\n` +
    `  expected  ${indented(expected ?? '')}\n` +
    `  seen      ${indented(seen ?? '')}\n`
  );
}

const indented = (text: string): string =>
  text
    .split('\n')
    .map((line, i) => (i === 0 || line === '' ? line : `${' '.repeat(12)}${line}`))
    .join('\n');
