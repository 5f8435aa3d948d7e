// What ends a machine and is no panic of its kernel: one line that says who, where and why.

import { GuestMemoryError } from '../guest/memory.ts';

/** The guest did something that no handler of its kernel is for. */
export class MachineError extends Error {
  readonly code = 'EMACHINE';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MachineError';
  }
}

/**
 * What somebody outside the machine asks of its kernel: there is no guest code that a fault could be told to.
 * @throws MachineError where the kernel's memory does not hold what it must
 */
export function fromOutside<T>(what: string, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw brokenMemory(what, error);
  }
}

/** What the host could not read or follow of the kernel's becomes an error of the machine; others stay what they are. */
export const brokenMemory = (what: string, error: unknown): unknown =>
  error instanceof GuestMemoryError
    ? new MachineError(`${what}: the kernel's memory is broken: ${error.message}`, { cause: error })
    : error;

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
