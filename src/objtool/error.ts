// Why an object's tables could not be made, compared or written.

/** The code's own words name the object; `place` is a section and an offset in it. */
export class ObjtoolError extends Error {
  readonly code: string;

  constructor(message: string, code = 'ENOEXEC') {
    super(message);
    this.name = 'ObjtoolError';
    this.code = code;
  }
}

/** The text leads through more stack states than any compiler's output does. */
export class CfiLimitError extends ObjtoolError {
  constructor(message: string) {
    super(message, 'E2BIG');
    this.name = 'CfiLimitError';
  }
}
