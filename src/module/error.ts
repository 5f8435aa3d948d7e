// Why a module is not loaded: the errno that the system call returns, and the words behind it.

import { errnoName } from '../kernel/errno.ts';
import { CONSTANTS } from '../kernel/layout.ts';

export type Errno = Extract<keyof typeof CONSTANTS, `E${Uppercase<string>}`>;

export function errnoOf(code: Errno): number {
  return CONSTANTS[code];
}

export class ModuleError extends Error {
  readonly code: string;
  /** Positive. */
  readonly errno: number;

  constructor(code: Errno | number, reason: string) {
    super(reason);
    this.name = 'ModuleError';
    this.errno = typeof code === 'number' ? code : errnoOf(code);
    this.code = errnoName(this.errno) ?? `errno ${this.errno}`;
  }
}
