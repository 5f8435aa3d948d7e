// What ends a machine and is no panic of its kernel: one line that says who, where and why.

/** The guest did something that no handler of its kernel is for. */
export class MachineError extends Error {
  readonly code = 'EMACHINE';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MachineError';
  }
}

const JAVASCRIPTS_OWN: readonly unknown[] = [
  Error,
  TypeError,
  RangeError,
  ReferenceError,
  SyntaxError,
  URIError,
];

/** JavaScript's own error, rather than one of those that somebody thought of. */
export function isUnforeseen(error: unknown): error is Error {
  return error instanceof Error && JAVASCRIPTS_OWN.includes(error.constructor);
}
