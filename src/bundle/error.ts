// What is wrong with a bundle, or what came between while it was loaded.

import { errnoName } from '../kernel/errno.ts';
import { UAPI } from '../kernel/uapi.ts';

type BundleErrno = 'EINVAL' | 'ENOEXEC' | 'EEXIST' | 'ENOMEM' | 'EBUSY' | 'EBADMSG' | 'EAGAIN';

export class BundleError extends Error {
  readonly code: string;
  /** Positive. */
  readonly errno: number;

  constructor(code: BundleErrno | number, reason: string) {
    super(reason);
    this.name = 'BundleError';
    this.errno = typeof code === 'number' ? code : UAPI[code];
    this.code = errnoName(this.errno) ?? `errno ${this.errno}`;
  }
}
