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
    const inText = token ? place.text.indexOf(token) : -1;
    const column = inText >= 0 && !place.via ? inText + 1 : place.column;
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
