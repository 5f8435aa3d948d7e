// Error numbers by name and back. Mirrors include/uapi/asm-generic/errno*.h and lib/errname.c.

import { UAPI } from './uapi.ts';

const DEBUG = Boolean(process.env.KLPEMU_DEBUG);
const NAMES = new Map<number, string>();
for (const [name, value] of Object.entries(UAPI)) {
  if (/^E[A-Z0-9]+$/.test(name) && !NAMES.has(value)) NAMES.set(value, name);
}

/** The name of a positive error number (22 is EINVAL); undefined for none. */
export function errnoName(errno: number): string | undefined {
  return NAMES.get(errno);
}

/**
 * An error that a system call hands to its caller as -errno. Guests get thousands of them: where in klpemu each came from
 * is noted only for whoever debugs it.
 */
export class KernelError extends Error {
  readonly code: string;
  readonly errno: number;

  /** @param errno positive, of UAPI. */
  constructor(errno: number, what: string) {
    const code = errnoName(errno) ?? `errno ${errno}`;
    const limit = Error.stackTraceLimit;
    if (!DEBUG) Error.stackTraceLimit = 0;
    super(`${what}: ${code}`);
    Error.stackTraceLimit = limit;
    this.name = 'KernelError';
    this.code = code;
    this.errno = errno;
  }
}
