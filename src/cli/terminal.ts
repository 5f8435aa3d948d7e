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
