// A failed expectation, with what was seen instead.

import type { Expectation } from '../../scenario/report.ts';
import { type Colors, toTerminalUnder } from '../terminal.ts';

export function expectationText({ place, path, expected, seen }: Expectation, colors: Colors): string {
  const where = `${place.file}:${place.line}:${place.column}`;
  const lines = [
    `${colors.red('FAILED')} ${where}: ${path}`,
    ...indented('expected', expected ?? ''),
    ...indented('seen', seen ?? ''),
  ];
  return `${lines.join('\n')}\n`;
}

const UNDER = 12;

function indented(what: string, text: string): string[] {
  const heading = `  ${what}`.padEnd(UNDER);
  const lines = text.split('\n').map((line, i) => {
    if (i === 0) return `${heading}${line}`;
    return line === '' ? line : `${' '.repeat(UNDER)}${line}`;
  });
  return toTerminalUnder(lines, UNDER);
}
