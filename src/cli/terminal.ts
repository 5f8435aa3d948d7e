// What of a terminal we use, and when: colour and progress only where a person looks at it.

import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** Colours for a stream; all of them do nothing when it is no terminal or NO_COLOR is set. */
export function colorsFor(stream: { isTTY?: boolean }): Colors {
  return pc.createColors(stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb');
}

/** Columns of standard output; wide enough for a stack line where there is no terminal. */
export function columns(): number {
  return process.stdout.columns || 110;
}

/** `klpemu ... | head` is no error. */
export function ignoreClosedPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
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
