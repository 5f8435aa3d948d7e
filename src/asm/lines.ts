// Source text into statements: comments go, `;` splits, every piece keeps its place.
//
// `#` and `//` start a comment, `/* */` encloses one; none of them inside a string.

import { AsmError, type Place } from './error.ts';

export interface Statement {
  readonly place: Place;
  readonly text: string;
}

/** Length of the string or character literal at `at`, 0 when there is none. */
export function literalLength(line: string, at: number): number {
  if (line[at] === '"') {
    let end = at + 1;
    while (end < line.length && line[end] !== '"') end += line[end] === '\\' ? 2 : 1;
    return end + 1 - at;
  }
  const char = line[at] === "'" ? /^'(\\.|[^\\'])'/.exec(line.slice(at)) : null;
  return char ? char[0].length : 0;
}

class LineSplitter {
  readonly statements: Statement[] = [];
  readonly file: string;
  readonly via: string | undefined;
  /** Place of a `/*` that is still open. */
  comment: Place | undefined;

  constructor(file: string, via?: string) {
    this.file = file;
    this.via = via;
  }

  place(line: number, column: number, text: string): Place {
    const place = { file: this.file, line, column, text };
    return this.via === undefined ? place : { ...place, via: this.via };
  }

  line(text: string, lineNumber: number): void {
    let start = 0;
    let kept = '';
    const flush = (end: number): void => {
      const trimmed = kept.trim();
      if (trimmed !== '') {
        const column = start + (kept.length - kept.trimStart().length) + 1;
        this.statements.push({ place: this.place(lineNumber, column, text), text: trimmed });
      }
      kept = '';
      start = end;
    };
    let at = 0;
    while (at < text.length) {
      if (this.comment) {
        const close = text.indexOf('*/', at);
        if (close < 0) break;
        this.comment = undefined;
        kept += ' '.repeat(close + 2 - at);
        at = close + 2;
      } else if (text.startsWith('/*', at)) {
        this.comment = this.place(lineNumber, at + 1, text);
        kept += '  ';
        at += 2;
      } else if (text[at] === '#' || text.startsWith('//', at)) {
        break;
      } else if (text[at] === ';') {
        flush(++at);
      } else {
        const length = Math.max(1, literalLength(text, at));
        kept += text.slice(at, at + length);
        at += length;
      }
    }
    flush(text.length);
  }
}

/** All statements of a text. */
export function splitStatements(file: string, text: string): Statement[] {
  const splitter = new LineSplitter(file);
  const lines = text.split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) splitter.line(lines[i] as string, i + 1);
  if (splitter.comment) throw new AsmError(splitter.comment, 'unterminated comment');
  return splitter.statements;
}

/** A line of a macro body after its arguments were put in. */
export function splitExpanded(place: Place, text: string, via: string): Statement[] {
  const splitter = new LineSplitter(place.file, via);
  splitter.line(text, place.line);
  return splitter.statements;
}
