// Where a statement stands in its source, and the error that says so.

export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The line as written, or as expanded when it comes from a macro. */
  readonly text: string;
  /** Set for statements out of a macro: which one, and where it was used. */
  readonly via?: string;
}

export class AsmError extends Error {
  readonly code = 'EASM';
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
  readonly reason: string;

  constructor(place: Place, reason: string, token?: string) {
    const column = place.via ? place.column : columnOf(place, token);
    const via = place.via ? ` (${place.via})` : '';
    super(`${place.file}:${place.line}:${column}: ${reason}${via}: ${place.text.trim()}`);
    this.name = 'AsmError';
    this.file = place.file;
    this.line = place.line;
    this.column = column;
    this.text = place.text.trim();
    this.reason = reason;
  }
}

/** Where the token stands as a whole word, at or after the statement's own column. */
function columnOf(place: Place, token: string | undefined): number {
  if (!token) return place.column;
  const isWord = (c: string | undefined): boolean => c !== undefined && /[\w.$]/.test(c);
  const whole = isWord(token[0]);
  for (let at = place.column - 1; ; at++) {
    at = place.text.indexOf(token, at);
    if (at < 0) return place.column;
    if (!whole || (!isWord(place.text[at - 1]) && !isWord(place.text[at + token.length]))) return at + 1;
  }
}
