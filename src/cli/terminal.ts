// What goes to a terminal, and how: the one place that writes to it.
//
// Invariant: of what is printed only our own colours are control sequences. Text of others (logs, names of modules and
// files, keys of scenarios) is shown, whatever it holds: \x1b where an escape character stands.

import { randomInt } from 'node:crypto';
import pc from 'picocolors';

const COLORS = [
  'bold',
  'dim',
  'red',
  'green',
  'yellow',
  'blue',
  'magenta',
  'cyan',
  'gray',
  'underline',
] as const;
type Paint = (text: string) => string;
export type Colors = Readonly<Record<(typeof COLORS)[number], Paint>>;

/** Known to nobody else: our colours carry it until they are printed. Terminals and width counters take it for colour. */
const SECRET = `${randomInt(1000, 10_000)};${randomInt(1000, 10_000)};`;
const OURS = new RegExp(
  `\\x1b\\[${SECRET}(\\d+)m|[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]`,
  'g',
);

/** Colours for a stream; all of them do nothing when it is no terminal or NO_COLOR is set. */
export function colorsFor(stream: { isTTY?: boolean }): Colors {
  const enabled = stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  const colors = pc.createColors(enabled);
  return Object.fromEntries(
    COLORS.map((name) => [name, enabled ? marked(colors[name]) : colors[name]]),
  ) as Colors;
}

function marked(paint: Paint): Paint {
  const [open, close] = paint('|')
    .split('|')
    .map((code) => code.replace('\x1b[', `\x1b[${SECRET}`));
  // A colour that ends inside of another one must not end that.
  return (text) => open + text.replaceAll(close, close + open) + close;
}

/** Text as it may stand on a terminal: control characters, and those that turn the direction of writing, by their numbers. */
export function visible(text: string): string {
  return text.replace(OURS, (control, color: string | undefined) => {
    if (color !== undefined) return `\x1b[${color}m`;
    const code = control.charCodeAt(0);
    // As the kernel has them in /dev/kmsg, and so that they stay what they are in JSON's texts.
    return code < 0x20 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`;
  });
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

export function print(text: string): void {
  process.stdout.write(visible(text));
}

export function printError(text: string): void {
  process.stderr.write(visible(text));
}

export function clearScreen(): void {
  if (process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[2J\x1b[3J');
}

/** Columns of the terminal, for tables; 80 where there is none. */
export function tableColumns(): number {
  return process.stdout.columns || 80;
}

/** Prints lines as they fit the terminal. */
export function printFolded(text: string, hang?: number): void {
  print(toTerminal(text.split('\n'), hang).join('\n'));
}

/** Lines as they fit the terminal; where there is none they stay whole, for who looks for something in them. */
export function toTerminal(lines: readonly string[], hang = 4): string[] {
  const { columns: width } = process.stdout;
  return width ? lines.map((line) => fold(line, width, hang)) : [...lines];
}

/** The same for lines with a column of text: what does not fit stands under its beginning. */
export function toTerminalUnder(lines: readonly string[], column: number): string[] {
  return lines.flatMap((line) => toTerminal([line], Math.max(0, column - line.search(/\S|$/))));
}

/**
 * A line in lines of at most `width`, at spaces where there are any; all but the first begin `hang` columns further to
 * the right than it. Our own colours have no width.
 */
export function fold(text: string, width: number, hang = 0): string {
  const begins = text.length - text.trimStart().length;
  const indent = ' '.repeat(Math.min(begins + hang, Math.max(0, width - LEAST_FOLDED)));
  const lines: string[] = [];
  let rest = text;
  for (let end = endOfLine(rest, width); end < rest.length; end = endOfLine(rest, width)) {
    lines.push(rest.slice(0, end).trimEnd());
    rest = indent + rest.slice(end).trimStart();
  }
  return [...lines, rest].join('\n');
}

/** However far to the right a line begins, so much of it stands there. */
const LEAST_FOLDED = 12;

/** Where a line is put in two; its length when it fits. */
function endOfLine(text: string, width: number): number {
  const begins = text.length - text.trimStart().length;
  let space = 0;
  let part = 0;
  for (let i = 0, shown = 0; i < text.length; ) {
    const color = ownColor(text, i);
    if (color > 0) {
      i += color;
      continue;
    }
    if (text[i] === ' ' && i > begins) space = i;
    if (shown === width) return space || part || i;
    i++;
    shown++;
    if ('_/'.includes(text[i - 1]) && i > begins) part = i;
  }
  return text.length;
}

/** Length of our own colour at this place of a text. */
function ownColor(text: string, at: number): number {
  const begin = `\x1b[${SECRET}`;
  return text.startsWith(begin, at) ? text.indexOf('m', at) + 1 - at : 0;
}

/** Columns of standard output; wide enough for a stack line where there is no terminal. */
export function columns(): number {
  return process.stdout.columns || 110;
}

/** Words after a heading, in lines of at most `width`; every line but the first is indented. */
export function wrap(heading: string, words: readonly string[], width: number, indent: string): string {
  const lines: string[] = [];
  let line = heading;
  words.forEach((word, i) => {
    const part = i < words.length - 1 ? `${word},` : word;
    if (line.length + 1 + part.length > width && line.trim() !== '') {
      lines.push(line);
      line = `${indent}${part}`;
    } else line += ` ${part}`;
  });
  return [...lines, line].join('\n');
}
