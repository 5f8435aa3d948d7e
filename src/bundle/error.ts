// What is wrong with a bundle, or what came between while it was loaded.

import { CONSTANTS } from '../kernel/layout.ts';

export type BundleErrno = 'EINVAL' | 'ENOEXEC' | 'EEXIST' | 'ENOMEM' | 'EBUSY' | 'EBADMSG';

export class BundleError extends Error {
  readonly code: BundleErrno;
  /** Positive. */
  readonly errno: number;

  constructor(code: BundleErrno, reason: string) {
    super(reason);
    this.name = 'BundleError';
    this.code = code;
    this.errno = CONSTANTS[code];
  }
}
